package vm

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// TestMain: what tests make here has the modes that it has with the usual umask, whatever that is now.
func TestMain(m *testing.M) {
	unix.Umask(0o022)
	os.Exit(m.Run())
}
