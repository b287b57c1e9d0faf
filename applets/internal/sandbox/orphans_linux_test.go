//go:build linux && (amd64 || arm64)

package sandbox

import (
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestKillOrphans runs this test again as a program whose child leaves a process behind: that has ended before the program does.
func TestKillOrphans(t *testing.T) {
	if os.Getenv("SANDBOX_TEST") == "orphans" {
		unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
		exec.Command("sh", "-c", "setsid sleep 60 & exec echo").Run()
		killOrphans()
		os.Exit(7)
	}
	if _, err := os.Stat("/proc/thread-self/children"); err != nil {
		t.Skip("needs a kernel with CONFIG_PROC_CHILDREN: ", err)
	}
	cmd := exec.Command("/proc/self/exe", "-test.run=TestKillOrphans")
	cmd.Env = append(os.Environ(), "SANDBOX_TEST=orphans")
	var said strings.Builder
	cmd.Stderr = &said // its end is held open by what is left
	start := time.Now()
	err := cmd.Run()
	if cmd.ProcessState.ExitCode() != 7 || time.Since(start) > 30*time.Second {
		t.Errorf("%v after %v: %s", err, time.Since(start), said.String())
	}
}
