//go:build linux && (amd64 || arm64)

package sandbox

import (
	"encoding/binary"
	"os"
	"strconv"
	"strings"
)

// usernetHostResolv is the host's resolv.conf(5), through whatever links lead to it, or "" if it has none. In the host's own network
// it is right as it is; for another see usernetResolv.
func usernetHostResolv() string {
	text, _ := os.ReadFile("/etc/resolv.conf")
	return string(text)
}

// usernetResolv is the host's text without name servers that cannot be reached from elsewhere: those on its loopback, such as
// systemd-resolved's, and those of a single link (fe80::1%eth0). If that leaves none with an IPv4 address, there is the
// forwarder, which hands on to the first that the host has.
func usernetResolv(host, forwarder string) (text string, forward bool) {
	forward = true
	for line := range strings.Lines(host) {
		if server, ok := usernetServer(line); ok {
			if strings.HasPrefix(server, "127.") || server == "0.0.0.0" || server == "::1" || strings.Contains(server, "%") {
				continue
			}
			forward = forward && strings.Contains(server, ":")
		}
		text += strings.TrimSuffix(line, "\n") + "\n"
	}
	if forward {
		text += "nameserver " + forwarder + "\n"
	}
	return text, forward
}

// usernetServer is the address in a line of resolv.conf(5).
func usernetServer(line string) (address string, ok bool) {
	field := strings.Fields(line)
	if len(field) < 2 || field[0] != "nameserver" {
		return "", false
	}
	return field[1], true
}

// usernetSubnet is a network of 256 addresses that the host does not use, neither in a route (/proc/net/route) nor for a name
// server; shorter routes than /8 lead to everything. The first is slirp's own, and also that of guests of VirtualBox and QEMU.
func usernetSubnet(routes, resolv string) string {
	candidates := [...]string{"10.0.2", "10.213.77", "172.29.213", "192.168.213"}
	for _, subnet := range candidates {
		if !usernetRouted(routes, usernetAddress(subnet+".0")) && !usernetServes(resolv, subnet) {
			return subnet
		}
	}
	return candidates[0]
}

func usernetRouted(routes string, address uint32) bool {
	for line := range strings.Lines(routes) {
		field := strings.Fields(line) // interface, destination, gateway, flags, three counters, mask
		if len(field) < 8 {
			continue
		}
		mask := usernetHex(field[7]) & 0xffffff00
		if mask>>24 == 0xff && (usernetHex(field[1])^address)&mask == 0 {
			return true
		}
	}
	return false
}

func usernetServes(resolv, subnet string) bool {
	for line := range strings.Lines(resolv) {
		if server, ok := usernetServer(line); ok && strings.HasPrefix(server, subnet+".") {
			return true
		}
	}
	return false
}

// usernetHex reads a number of /proc/net/route, which is an address in the order of the network taken for a number of this machine.
func usernetHex(s string) uint32 {
	n, _ := strconv.ParseUint(s, 16, 32)
	var b [4]byte
	binary.NativeEndian.PutUint32(b[:], uint32(n))
	return binary.BigEndian.Uint32(b[:])
}

func usernetAddress(s string) (address uint32) {
	for part := range strings.SplitSeq(s, ".") {
		n, _ := strconv.ParseUint(part, 10, 8)
		address = address<<8 | uint32(n)
	}
	return address
}
