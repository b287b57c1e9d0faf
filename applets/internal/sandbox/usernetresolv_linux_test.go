//go:build linux && (amd64 || arm64)

package sandbox

import "testing"

func TestUsernetResolv(t *testing.T) {
	for _, c := range []struct{ host, want string }{
		{"nameserver 192.0.2.1\n", "nameserver 192.0.2.1\n"},
		{"search example.org\nnameserver 192.0.2.1\nnameserver 192.0.2.2\noptions edns0", "search example.org\nnameserver 192.0.2.1\nnameserver 192.0.2.2\noptions edns0\n"},
		{"nameserver 127.0.0.53\noptions edns0 trust-ad\nsearch .\n", "options edns0 trust-ad\nsearch .\nnameserver F\n"},
		{"nameserver 127.0.0.1\nnameserver 192.0.2.1\n", "nameserver 192.0.2.1\n"},
		{"nameserver ::1\nnameserver 0.0.0.0\n\tnameserver\t127.0.0.11 # docker\n", "nameserver F\n"},
		{"nameserver 2001:db8::1\n", "nameserver 2001:db8::1\nnameserver F\n"},
		{"nameserver fe80::1%eth0\nnameserver 2001:db8::1\nnameserver 192.0.2.1\n", "nameserver 2001:db8::1\nnameserver 192.0.2.1\n"},
		{"# nameserver 192.0.2.1\nnameserver\n", "# nameserver 192.0.2.1\nnameserver\nnameserver F\n"},
		{"", "nameserver F\n"},
	} {
		got, forward := usernetResolv(c.host, "F")
		if got != c.want || forward != (got[len(got)-2] == 'F') {
			t.Errorf("%q: %q, %v, not %q", c.host, got, forward, c.want)
		}
	}
}

func TestUsernetSubnet(t *testing.T) {
	const header = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n"
	for _, c := range []struct{ routes, resolv, want string }{
		{"", "", "10.0.2"},
		{"eth0 00000000 010200C0 0003 0 0 0 00000000 0 0 0\neth0 000200C0 00000000 0001 0 0 0 00FFFFFF 0 0 0", "", "10.0.2"},
		{"eth0 0002000A 00000000 0001 0 0 0 00FFFFFF 0 0 0", "", "10.213.77"},
		{"eth0 0000000A 00000000 0001 0 0 0 00F0FFFF 0 0 0\neth0 0502000A 00000000 0005 0 0 0 FFFFFFFF 0 0 0", "", "10.213.77"},
		{"tun0 0000000A 00000000 0001 0 0 0 000000FF 0 0 0", "", "172.29.213"},
		{"tun0 0000000A 00000000 0001 0 0 0 000000FF 0 0 0\ntun0 000010AC 00000000 0001 0 0 0 0000F0FF 0 0 0", "", "192.168.213"},
		{"tun0 00000000 00000000 0001 0 0 0 00000080 0 0 0\ntun0 00000080 00000000 0001 0 0 0 00000080 0 0 0", "", "10.0.2"},
		{"", "nameserver 10.0.2.3\n", "10.213.77"},
		{"", "nameserver 10.0.20.3\n", "10.0.2"},
	} {
		if got := usernetSubnet(header+c.routes, c.resolv); got != c.want {
			t.Errorf("%q, %q: %s, not %s", c.routes, c.resolv, got, c.want)
		}
	}
}
