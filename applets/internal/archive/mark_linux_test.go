package archive

import "testing"

func TestMark(t *testing.T) {
	d := openDir(t, attributed(t, map[string]string{"user.overlay.opaque": "y", "user.overlay.whiteout": "", "user.long": "123456789"}))
	for attr, want := range map[string]struct {
		value string
		has   bool
	}{
		"user.overlay.opaque":   {"y", true},
		"user.overlay.whiteout": {"", true},
		"user.long":             {"", true},
		"user.none":             {"", false},
	} {
		for _, name := range []string{"./f", "./d"} {
			if value, has, err := d.Mark([]byte(name), attr); err != nil || value != want.value || has != want.has {
				t.Errorf("%s %s: %q, %v, %v", name, attr, value, has, err)
			}
		}
	}
	if _, has, err := d.Mark([]byte("./none"), "user.a"); err == nil || has {
		t.Error("an attribute of what is not there")
	}
}
