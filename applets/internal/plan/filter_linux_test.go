//go:build linux && (amd64 || arm64)

package plan

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// filterCase is one system call as a filter sees it.
type filterCase struct {
	audit, nr uint32
	args      [6]uint64
}

func (c filterCase) word(t *testing.T, offset uint32) uint32 {
	switch {
	case offset == 0:
		return c.nr
	case offset == 4:
		return c.audit
	case offset >= 16 && offset < 64 && offset%8 == 0:
		return uint32(c.args[(offset-16)/8])
	}
	t.Fatalf("load from %d", offset)
	return 0
}

// filterRun interprets a filter, as much of BPF as filters use. It returns the verdict and how many instructions it took.
func filterRun(t *testing.T, prog []syscall.SockFilter, c filterCase) (verdict uint32, steps int) {
	t.Helper()
	var a uint32
	for pc := 0; pc < len(prog); pc++ {
		i := prog[pc]
		steps++
		var yes bool
		switch i.Code {
		case unix.BPF_LD | unix.BPF_W | unix.BPF_ABS:
			a = c.word(t, i.K)
			continue
		case unix.BPF_ALU | unix.BPF_AND | unix.BPF_K:
			a &= i.K
			continue
		case unix.BPF_RET | unix.BPF_K:
			return i.K, steps
		case unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K:
			yes = a == i.K
		case unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K:
			yes = a >= i.K
		case unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K:
			yes = a&i.K != 0
		default:
			t.Fatalf("%d: instruction %#x", pc, i.Code)
		}
		if yes {
			pc += int(i.Jt)
		} else {
			pc += int(i.Jf)
		}
	}
	t.Fatal("the filter has no end")
	return
}

// filterNames reads the system calls of an architecture from x/sys, which has them from the kernel's headers.
func filterNames(t *testing.T, goarch string) map[string]uint32 {
	t.Helper()
	dir, err := exec.Command("go", "list", "-f", "{{.Dir}}", "golang.org/x/sys/unix").Output()
	if err != nil || len(dir) < 2 {
		t.Fatalf("where is the source of golang.org/x/sys? %q, %v", dir, err)
	}
	f, err := os.Open(filepath.Join(strings.TrimSpace(string(dir)), "zsysnum_linux_"+goarch+".go"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	define := regexp.MustCompile(`^\s*SYS_(\w+)\s+=\s+(\d+)`)
	names := map[string]uint32{}
	for s := bufio.NewScanner(f); s.Scan(); {
		if m := define.FindStringSubmatch(s.Text()); m != nil {
			n, _ := strconv.ParseUint(m[2], 10, 32)
			names[strings.ToLower(m[1])] = uint32(n)
		}
	}
	if len(names) < 300 {
		t.Fatalf("%s: %d system calls", goarch, len(names))
	}
	return names
}

// What must be refused, said once more and by name.
var (
	filterDenied = strings.Fields(`keyctl add_key request_key bpf perf_event_open userfaultfd kexec_load kexec_file_load
		open_by_handle_at init_module finit_module delete_module reboot swapon swapoff acct process_vm_readv process_vm_writev
		io_uring_setup io_uring_enter io_uring_register mount umount umount2 pivot_root fsopen fsconfig fsmount fspick move_mount
		open_tree open_tree_attr mount_setattr setns quotactl quotactl_fd settimeofday clock_settime clock_settime64 stime syslog
		vhangup iopl ioperm`)
	filterFaked = strings.Fields(`chown fchown lchown fchownat chown32 fchown32 lchown32 setuid setgid setreuid setregid setresuid
		setresgid setgroups setfsuid setfsgid setuid32 setgid32 setreuid32 setregid32 setresuid32 setresgid32 setgroups32
		setfsuid32 setfsgid32 capset`)
)

// filterWant is the answer to a call by name.
func filterWant(name string, args [6]uint64, fake bool) uint32 {
	errno := func(e unix.Errno) uint32 { return unix.SECCOMP_RET_ERRNO | uint32(e) }
	device := func(mode uint64) bool { return mode&unix.S_IFMT == unix.S_IFCHR || mode&unix.S_IFMT == unix.S_IFBLK }
	low := uint32(args[1])
	switch {
	case slices.Contains(filterDenied, name),
		name == "ioctl" && (low == 0x5412 || low == 0x541c),
		(name == "clone" || name == "unshare") && args[0]&0x7e020000 != 0:
		return errno(unix.EPERM)
	case name == "clone3":
		return errno(unix.ENOSYS)
	case name == "socket" && (uint32(args[0]) == 38 || uint32(args[0]) == 40):
		return errno(unix.EAFNOSUPPORT)
	case fake && (slices.Contains(filterFaked, name) || name == "mknod" && device(args[1]) || name == "mknodat" && device(args[2])):
		return errno(0)
	}
	return unix.SECCOMP_RET_ALLOW
}

// filterArguments are tried in the places of the first three arguments, each also with its high bits set.
var filterArguments = []uint64{0, 0x5412, 0x541c, 0x5413, unix.CLONE_NEWUSER, unix.CLONE_FILES, unix.CLONE_NEWNS | unix.CLONE_FS,
	unix.S_IFCHR | 0o600, unix.S_IFBLK, unix.S_IFIFO | 0o644, unix.S_IFREG, unix.S_IFSOCK, 38, 39, 40, unix.AF_UNIX}

func TestFilterAnswers(t *testing.T) {
	for _, pair := range [][3]any{
		{"amd64", "amd64", uint32(unix.AUDIT_ARCH_X86_64)}, {"amd64", "386", uint32(unix.AUDIT_ARCH_I386)},
		{"arm64", "arm64", uint32(unix.AUDIT_ARCH_AARCH64)}, {"arm64", "arm", uint32(unix.AUDIT_ARCH_ARM)},
	} {
		goarch, abi, audit := pair[0].(string), pair[1].(string), pair[2].(uint32)
		names := map[uint32]string{}
		for name, n := range filterNames(t, abi) {
			names[n] = name
		}
		for _, fake := range []bool{false, true} {
			prog := filterFor(goarch, fake)
			most := 0
			for nr := range uint32(601) {
				for i := range 6 * len(filterArguments) {
					c := filterCase{audit: audit, nr: nr}
					c.args[i%3] = filterArguments[i/6]
					if i%6 > 2 {
						c.args[i%3] |= 0xdead << 32
					}
					want := filterWant(names[nr], c.args, fake)
					if nr > filterLast {
						want = unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)
					}
					got, steps := filterRun(t, prog, c)
					if got != want {
						t.Errorf("%s, fake %v: %s (%d) with %#x: %#x, want %#x", abi, fake, names[nr], nr, c.args, got, want)
					}
					most = max(most, steps)
				}
			}
			t.Logf("%s, fake %v: a program of %d instructions, at most %d of them for a call", abi, fake, len(prog), most)
		}
	}
}

// A name is filtered in every ABI that has it, and nothing is left out because it is newer than the table.
func TestFilterNumbers(t *testing.T) {
	for column, goarch := range []string{"amd64", "arm64", "386", "arm"} {
		names := filterNames(t, goarch)
		for _, r := range filterRules {
			if uint32(r.numbers[column]) != names[r.name] {
				t.Errorf("%s: %s is %d, not %d", goarch, r.name, names[r.name], r.numbers[column])
			}
		}
		for name, n := range names {
			if n > filterLast && n < filterARM {
				t.Errorf("%s: decide about %s (%d), then raise filterLast", goarch, name, n)
			}
		}
	}
}

// Numbers that are not of the table: other ABIs, what ARM adds, calls that a tracer has taken back.
func TestFilterStrangeNumbers(t *testing.T) {
	const x86, i386, arm = unix.AUDIT_ARCH_X86_64, unix.AUDIT_ARCH_I386, unix.AUDIT_ARCH_ARM
	refused, absent := unix.SECCOMP_RET_ERRNO|uint32(unix.EPERM), unix.SECCOMP_RET_ERRNO|uint32(unix.ENOSYS)
	for _, c := range []struct {
		goarch    string
		audit, nr uint32
		want      uint32
	}{
		{"amd64", x86, 0x40000000 + unix.SYS_GETPID, refused},
		{"amd64", x86, 0x40000000 + 514, refused}, // x32's ioctl
		{"amd64", x86, 0xfffffffe, refused},
		{"amd64", x86, 0xffffffff, unix.SECCOMP_RET_ALLOW},
		{"amd64", i386, 0xffffffff, unix.SECCOMP_RET_ALLOW},
		{"amd64", i386, 0x40000000, absent},
		{"amd64", unix.AUDIT_ARCH_AARCH64, 0, refused},
		{"arm64", arm, 0xf0005, unix.SECCOMP_RET_ALLOW},
		{"arm64", arm, 0xeffff, absent},
		{"arm64", unix.AUDIT_ARCH_AARCH64, 0xf0005, absent},
		{"arm64", x86, 0, refused},
	} {
		if got, _ := filterRun(t, filterFor(c.goarch, false), filterCase{audit: c.audit, nr: c.nr}); got != c.want {
			t.Errorf("%s: ABI %#x, number %#x: %#x, want %#x", c.goarch, c.audit, c.nr, got, c.want)
		}
	}
	if prog := filterFor("riscv64", true); prog != nil {
		t.Errorf("riscv64: %d instructions", len(prog))
	}
}

// TestFilterInKernel runs testdata/calls under the filter: built for this processor and for its 32-bit sibling.
func TestFilterInKernel(t *testing.T) {
	if args := os.Getenv("SANDBOX_TEST_FILTER"); args != "" {
		filterExec(strings.Fields(args))
	}
	sibling := map[string]string{"amd64": "386", "arm64": "arm"}[runtime.GOARCH]
	if sibling == "" {
		t.Skip("no filter for " + runtime.GOARCH)
	}
	for _, goarch := range []string{runtime.GOARCH, sibling} {
		for _, fake := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/%v", goarch, fake), func(t *testing.T) { filterInKernel(t, goarch, fake) })
		}
	}
}

// filterExec puts this process under the filter and becomes another program.
func filterExec(args []string) {
	runtime.LockOSThread()
	prog := filter(args[0] == "true")
	fprog := syscall.SockFprog{Len: uint16(len(prog)), Filter: &prog[0]}
	err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
	if err == nil {
		_, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, uintptr(unsafe.Pointer(&fprog)))
		err = errno
		if errno == 0 {
			err = unix.Exec(args[1], args[1:], nil)
		}
	}
	fmt.Println("filter:", err)
	os.Exit(1)
}

func filterInKernel(t *testing.T, goarch string, fake bool) {
	dir := t.TempDir()
	calls := filepath.Join(dir, "calls")
	build := exec.Command("go", "build", "-o", calls, "./testdata/calls")
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOARCH="+goarch)
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestFilterInKernel$")
	cmd.Env = append(os.Environ(), fmt.Sprintf("SANDBOX_TEST_FILTER=%v %s %s", fake, calls, dir))
	out, err := cmd.CombinedOutput()
	if err != nil && strings.Contains(string(out), "exec format error") {
		t.Skipf("this kernel runs no programs for %s", goarch)
	} else if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	got := map[string]unix.Errno{}
	for line := range strings.Lines(string(out)) {
		i := strings.LastIndexByte(line, ' ')
		n, _ := strconv.Atoi(strings.TrimSpace(line[i+1:]))
		got[line[:i]] = unix.Errno(n)
	}
	want := map[string]unix.Errno{
		"getppid": 0, "TIOCSTI": unix.EPERM, "TIOCSTI with high bits": unix.EPERM, "TIOCLINUX": unix.EPERM, "keyctl": unix.EPERM,
		"bpf": unix.EPERM, "perf_event_open": unix.EPERM, "unshare user namespace": unix.EPERM, "unshare files": 0,
		"clone user namespace": unix.EPERM, "clone3": unix.ENOSYS, "io_uring_setup": unix.EPERM, "later than any": unix.ENOSYS,
		"syslog": unix.EPERM, "mknod fifo": 0, "socket unix": 0, "socket alg": unix.EAFNOSUPPORT,
	}
	if fake {
		want["chown"], want["setuid"], want["mknod device"] = 0, 0, 0
	} else {
		want["mknod device"] = unix.EEXIST
	}
	if goarch == "386" { // Go's syscall.Socket is socketcall there
		delete(want, "socket alg")
	}
	filterCompare(t, got, want)
	if owner := filterOwner(t, dir); fake && owner != os.Getuid() {
		t.Errorf("chown was to be faked: the owner is %d", owner)
	}
}

func filterCompare(t *testing.T, got, want map[string]unix.Errno) {
	t.Helper()
	for name, errno := range want {
		if e, ok := got[name]; !ok || e != errno {
			t.Errorf("%s: %v, want %v", name, e, errno)
		}
	}
}

func filterOwner(t *testing.T, path string) int {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		t.Fatal(err)
	}
	return int(st.Uid)
}
