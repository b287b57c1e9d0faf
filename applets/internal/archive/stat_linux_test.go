package archive

import (
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ctbox/ctbox/applets/internal/list"
)

// TestOddStat: numbers of files and devices are as long as the kernel's, or hard links would be found where there are none; a
// size that cannot be is an error (L43).
func TestOddStat(t *testing.T) {
	raw := unix.Stat_t{Mode: list.Regular | 0o644, Dev: 1<<63 + 7, Ino: 1<<64 - 1, Nlink: 2, Size: 1 << 62}
	st, err := fromUnix(&raw)
	if err != nil || st.Dev != 1<<63+7 || st.Ino != 1<<64-1 || st.Size != 1<<62 {
		t.Errorf("%+v, %v", st, err)
	}
	raw.Size = -1
	if _, err := fromUnix(&raw); err == nil || err.Error() != "file system reports a size of -1" {
		t.Error(err)
	}
}
