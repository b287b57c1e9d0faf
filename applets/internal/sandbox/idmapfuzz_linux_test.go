//go:build linux && (amd64 || arm64)

package sandbox

import "testing"

// Whatever is in /etc/subuid, the map is one that the kernel takes: no id twice, inside or outside, none beyond 32 bits, and the
// caller is whom it wants to be.
func FuzzIDMap(f *testing.F) {
	for _, text := range []string{
		"me:100000:65536\n", "me:0:4294967295", "me:4294967294:1\nme:1:2\n", "me:1:1\nme:1:1\n1000:5:5\nother:7:7", "me:1000:1", "me:999:3\n", "me:-1:5\nme:5:-1\nme: 1:1\nme:1\n:::\n",
		"me:4294967295:4294967295\nme:0:0\n", "me:18446744073709551615:2", "me:100000:4294867294\nme:0:99999\n",
	} {
		f.Add(text, uint32(0), uint32(1000))
		f.Add(text, uint32(65535), uint32(0))
		f.Add(text, uint32(1<<32-2), uint32(1<<32-2))
	}
	f.Fuzz(func(t *testing.T, text string, inside, caller uint32) {
		if inside == 1<<32-1 || caller == 1<<32-1 {
			return // no id
		}
		maps := idmapChain(inside, caller, idmapRanges(text, []string{"me", "1000"}))
		if len(maps) < 1 || len(maps) > idmapMost || maps[0] != (IDMap{inside, caller, 1}) {
			t.Fatalf("%v", maps)
		}
		for i, m := range maps {
			if m.Count == 0 || uint64(m.Inside)+uint64(m.Count) > 1<<32-1 || uint64(m.Outside)+uint64(m.Count) > 1<<32-1 {
				t.Errorf("%v", m)
			}
			for _, n := range maps[:i] {
				if meets(m.Inside, m.Count, n.Inside, n.Count) || meets(m.Outside, m.Count, n.Outside, n.Count) {
					t.Errorf("%q: %v and %v", text, n, m)
				}
			}
		}
	})
}

func meets(a, an, b, bn uint32) bool {
	return uint64(a) < uint64(b)+uint64(bn) && uint64(b) < uint64(a)+uint64(an)
}
