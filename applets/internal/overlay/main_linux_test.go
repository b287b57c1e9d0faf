package overlay

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// TestMain: what tests make here has the modes that it has with the usual umask, whatever that is now, and other users
// may run this program.
func TestMain(m *testing.M) {
	unix.Umask(0o022)
	if self, err := os.Executable(); err == nil {
		os.Chmod(self, 0o755)
	}
	os.Exit(m.Run())
}
