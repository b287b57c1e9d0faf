package cli

import "testing"

func TestSize(t *testing.T) {
	for text, want := range map[string]Size{
		"1": 1 << 20, "512": 512 << 20, "512M": 512 << 20, "512m": 512 << 20, "2G": 2 << 30, "3k": 3 << 10, "1T": 1 << 40,
		"8388607T": 8388607 << 40,
	} {
		var s Size
		if err := s.UnmarshalText([]byte(text)); err != nil || s != want {
			t.Errorf("%q: %d, %v; want %d", text, s, err, want)
		}
	}
	for _, text := range []string{"", "M", "0", "-1", "0G", "1.5G", "1 G", "1GB", "G1", "8388608T", "99999999999999999999", "1É"} {
		s := Size(7)
		if err := s.UnmarshalText([]byte(text)); err == nil || s != 7 {
			t.Errorf("%q: %d, %v; want an error", text, s, err)
		}
	}
}
