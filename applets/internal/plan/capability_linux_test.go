//go:build linux && (amd64 || arm64)

package plan

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// What docker documents: 00000000a80425fb in /proc/self/status of its containers.
func TestCapabilitiesKept(t *testing.T) {
	if capabilitiesKept != 0xa80425fb {
		t.Errorf("%#x", capabilitiesKept)
	}
	if s := capabilitiesOnly(1<<40 | 1); s.data[0].permitted != 1 || s.data[1].effective != 1<<8 || s.data[0].inheritable != 0 {
		t.Errorf("%+v", s)
	}
}

// TestCapabilitiesInKernel drops them in a new user namespace, where all are there at first.
func TestCapabilitiesInKernel(t *testing.T) {
	if os.Getenv("SANDBOX_TEST_CAPABILITIES") != "" {
		capabilitiesShow()
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestCapabilitiesInKernel$")
	cmd.Env = append(os.Environ(), "SANDBOX_TEST_CAPABILITIES=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
		AmbientCaps: []uintptr{unix.CAP_SYS_ADMIN},
	}
	out, err := cmd.Output()
	if err != nil && os.Getenv("CI") != "true" && len(out) == 0 {
		t.Skip("needs user namespaces: ", err)
	} else if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	kept := fmt.Sprintf("%016x", capabilitiesKept)
	none := fmt.Sprintf("%016x", 0)
	want := "CapInh:\t" + none + "\nCapPrm:\t" + kept + "\nCapEff:\t" + kept + "\nCapBnd:\t" + kept + "\nCapAmb:\t" + none + "\n"
	if string(out) != want {
		t.Errorf("%s\nwant\n%s", out, want)
	}
}

// capabilitiesShow keeps what is to be kept, in this process, and becomes a program that shows what it has.
func capabilitiesShow() {
	runtime.LockOSThread()
	fail := func(what string, err error) {
		fmt.Println(what, err)
		os.Exit(1)
	}
	for _, c := range capabilitiesDropped(capabilitiesKept) {
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0); err != nil {
			fail("drop", err)
		}
	}
	s := capabilitiesOnly(capabilitiesKept)
	if _, _, errno := unix.RawSyscall(unix.SYS_CAPSET, uintptr(unsafe.Pointer(&s.header)), uintptr(unsafe.Pointer(&s.data)), 0); errno != 0 {
		fail("capset", errno)
	}
	grep := strings.Fields("/bin/grep ^Cap /proc/self/status")
	fail("exec", unix.Exec(grep[0], grep, nil))
}
