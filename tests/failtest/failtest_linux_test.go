package failtest

import (
	"errors"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// What a call returns is that of its row, too.
func TestReturns(t *testing.T) {
	for want, call := range map[int]Call{
		0: {Number: unix.SYS_WRITE}, 5: {Number: unix.SYS_WRITE, Returns: 5}, 2: {Number: unix.SYS_WRITE, Returns: 2, Times: 1},
	} {
		During(t, func() {
			if n, err := unix.Write(-1, make([]byte, 9)); n != want || err != nil {
				t.Errorf("%d, %v, want %d", n, err, want)
			}
		}, call)
	}
}

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
		{"done", Call{Number: unix.SYS_MKDIRAT}, ".... ...."},
		{"with a result", Call{Number: unix.SYS_MKDIRAT, Returns: 5}, ".... ...."},
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
		if _, err := os.Stat(dir + "/" + c.name + "0"); (err != nil) != (c.call.Number == unix.SYS_MKDIRAT && c.call.Mask == 0) {
			t.Errorf("%s: directory: %v", c.name, err)
		}
		if err := unix.Chdir("."); err != nil {
			t.Errorf("%s: afterwards: %v", c.name, err)
		}
	}
}
