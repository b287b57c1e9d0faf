package failtest

import (
	"errors"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// Each call is told what its row says, and others are made.
func TestDuring(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []struct {
		name string
		call Call
		want string // of four calls of chdir(2), and one of mkdir(2) with mode 0700 and 0755 in turn; x is one that fails
	}{
		{"never", Call{Number: unix.SYS_CHROOT, Err: unix.EIO}, ".... ...."},
		{"always", Call{Number: unix.SYS_CHDIR, Err: unix.EIO}, "xxxx ...."},
		{"argument", Call{Number: unix.SYS_MKDIRAT, Err: unix.EIO, Arg: 2, Mask: 0o77, Value: 0o55}, ".... .x.x"},
		{"third", Call{Number: unix.SYS_CHDIR, Err: unix.EIO, After: 2, Times: 1}, "..x. ...."},
		{"from the second", Call{Number: unix.SYS_CHDIR, Err: unix.EIO, After: 1}, ".xxx ...."},
		{"first two", Call{Number: unix.SYS_CHDIR, Err: unix.EIO, Times: 2}, "xx.. ...."},
	} {
		var got strings.Builder
		say := func(err error) {
			switch {
			case err == nil:
				got.WriteByte('.')
			case errors.Is(err, unix.EIO):
				got.WriteByte('x')
			default:
				t.Error(err)
			}
		}
		During(t, func() {
			for range 4 {
				say(unix.Chdir("."))
			}
			got.WriteByte(' ')
			for i := range 4 {
				say(os.Mkdir(dir+"/"+c.name+string('0'+rune(i)), [...]os.FileMode{0o700, 0o755}[i%2]))
			}
		}, c.call)
		if got.String() != c.want {
			t.Errorf("%s: %s, want %s", c.name, got.String(), c.want)
		}
		if err := unix.Chdir("."); err != nil {
			t.Errorf("%s: afterwards: %v", c.name, err)
		}
	}
}
