package guest

import (
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ctbox/ctbox/applets/internal/wire"
)

// role makes this test binary the first process of a guest that is a set of namespaces: "init" of runkvm's, or "standalone", or "boot", which is that from the
// beginning.
const role = "CTBOX_TEST_ROLE"

// counted is the directory for what coverage counts.
const counted = "CTBOX_TEST_COUNTED"

func TestMain(m *testing.M) {
	if os.Getenv(role) != "" {
		beInit(os.Getenv("CTBOX_TEST_ROOT"))
	}
	os.Exit(m.Run())
}

// beInit does what Main does, with a terminal for the line and a file for the memory.
func beInit(root string) {
	m := &machine{line: "/proc/self/fd/3", memory: int64(os.Getpagesize()), restart: true}
	if os.Getenv(role) == "standalone" {
		m.line = ""
	}
	outside, _ := unix.Open("/", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	counters := os.Getenv(counted)
	defer m.off()
	defer func() {
		if testing.CoverMode() != "" { // the counters are written by a process that exits, and to a file of the host
			os.Setenv("GOCOVERDIR", counters)
			unix.Fchdir(outside)
			unix.Chroot(".")
			os.Exit(0)
		}
	}()
	defer m.rescue()
	unix.CloseRange(3, 1<<31-1, unix.CLOSE_RANGE_CLOEXEC) // a kernel hands nothing on
	unix.Umask(0o022)                                     // and has this
	if err := enter(root); err != nil {
		say("test: " + err.Error())
		return
	}
	var err error
	if os.Getenv(role) == "boot" {
		os.Args[0], m.line = wire.AddedInit, ""
		err = m.boot()
	} else {
		mountAll(kernelMounts[:])
		prepare()
		unix.Stat("/", &m.root)
		if m.line == "" {
			err = m.standalone()
		} else {
			err = m.serve("/proc/self/fd/4")
		}
	}
	if err != nil {
		say(err.Error())
	}
}

// enter makes a root at dir that has the host's programs, and nothing that is not the guest's own.
func enter(dir string) error {
	err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "")
	if err == nil {
		err = unix.Mount("root", dir, "tmpfs", 0, "mode=0755")
	}
	for _, name := range []string{"bin", "etc", "lib", "lib64", "sbin", "usr", "dev/null"} {
		if err != nil {
			return err
		}
		if _, missing := os.Stat("/" + name); missing != nil {
			continue
		}
		at := filepath.Join(dir, name)
		if name == "dev/null" {
			os.Mkdir(filepath.Dir(at), 0o755)
			err = os.WriteFile(at, nil, 0o600)
		} else {
			err = os.Mkdir(at, 0o755)
		}
		if err == nil {
			err = unix.Mount("/"+name, at, "", unix.MS_BIND|unix.MS_REC, "")
		}
	}
	if err == nil {
		err = os.CopyFS(dir, os.DirFS(os.Getenv("CTBOX_TEST_FILES")))
	}
	if err == nil {
		err = unix.Chroot(dir)
	}
	if err == nil {
		err = unix.Chdir("/")
	}
	return err
}

// A host talks to a guest.
type host struct {
	t        *testing.T
	cmd      *exec.Cmd
	line     *os.File
	shared   *wire.Memory
	in       *wire.Writer
	out      *wire.Reader
	messages string // file with what it says on its console
	nonce    [16]byte
}

// boot starts a guest with files, besides those of the host, in its root. It ends with the test.
func boot(t *testing.T, files map[string]string) *host {
	t.Helper()
	h := &host{t: t, messages: filepath.Join(t.TempDir(), "console"), nonce: [16]byte{1, 2, 3}}
	own := t.TempDir()
	for name, content := range files {
		check(t, os.WriteFile(filepath.Join(own, name), []byte(content), 0o755))
	}
	line, tty := terminal(t)
	h.line = line
	size := os.Getpagesize() + wire.Shared
	fd, err := unix.MemfdCreate("guest", unix.MFD_CLOEXEC)
	check(t, err)
	memory := os.NewFile(uintptr(fd), "memory")
	check(t, memory.Truncate(int64(size)))
	b, err := unix.Mmap(fd, int64(os.Getpagesize()), wire.Shared, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	check(t, err)
	h.shared = wire.NewMemory(b)
	h.start([]*os.File{tty, memory}, role+"=init", "CTBOX_TEST_ROOT="+t.TempDir(), "CTBOX_TEST_FILES="+own)
	return h
}

// start starts the first process in namespaces of its own.
func (h *host) start(files []*os.File, env ...string) {
	console, err := os.Create(h.messages)
	check(h.t, err)
	defer console.Close()
	h.cmd = exec.Command("/proc/self/exe")
	h.cmd.Env, h.cmd.ExtraFiles = append(env, counted+"="+flag.Lookup("test.gocoverdir").Value.String()), files
	h.cmd.Stdout, h.cmd.Stderr = console, console
	ids := []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
	gids := []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	h.cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWUSER | unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWUTS |
			unix.CLONE_NEWIPC | unix.CLONE_NEWNET,
		UidMappings: ids, GidMappings: gids, Pdeathsig: syscall.SIGKILL, Setsid: true,
	}
	if err := h.cmd.Start(); err != nil {
		lacking(h.t, "no namespaces: "+err.Error())
	}
	for _, f := range files {
		f.Close()
	}
	h.t.Cleanup(func() {
		h.cmd.Process.Kill()
		h.cmd.Wait()
		if h.t.Failed() {
			h.t.Logf("console: %s", h.console())
		}
	})
}

func (h *host) console() string {
	text, _ := os.ReadFile(h.messages)
	return string(text)
}

// terminal opens the two ends of a pseudo-terminal. Closing the line ends a Read of it, too.
func terminal(t *testing.T) (line, tty *os.File) {
	t.Helper()
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	check(t, err)
	line = os.NewFile(uintptr(fd), "line")
	t.Cleanup(func() { line.Close() })
	check(t, unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0))
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	check(t, err)
	tty, err = os.OpenFile("/dev/pts/"+strconv.Itoa(n), os.O_RDWR|syscall.O_NOCTTY, 0)
	check(t, err)
	return line, tty
}

// hello reads the greeting and answers it.
func (h *host) hello(memory bool) {
	h.t.Helper()
	var line []byte
	for b := make([]byte, 1); len(line) == 0 || line[len(line)-1] != '\n'; line = append(line, b[0]) {
		_, err := h.line.Read(b)
		check(h.t, err)
	}
	got, err := wire.ParseHello(string(line[:len(line)-1]))
	if err != nil || !got.Memory || got.Token != h.shared.Token() {
		h.t.Fatalf("%q: %v, token %x", line, err, h.shared.Token())
	}
	answer := wire.AnswerSerial
	if memory {
		answer = wire.AnswerMemory
	}
	_, err = h.line.WriteString(answer)
	check(h.t, err)
	h.in, h.out = wire.NewWriter(h.line), wire.NewReader(h.line)
	if memory {
		bell := wire.NewBell(h.line, h.line)
		h.in, h.out = wire.NewWriter(h.shared.In(bell)), wire.NewReader(h.shared.Out(bell))
	}
}

// A result is what a job gave.
type result struct {
	end      wire.End
	out, err string
	credit   int64
}

// do has a job done, from Hello to End. feed, if any, sends what the job says that it sends.
func (h *host) do(memory bool, job wire.Job, feed func()) result {
	h.t.Helper()
	h.hello(memory)
	job.Nonce = h.nonce
	if job.Dir == "" {
		job.Dir = "/"
	}
	h.job(job)
	if feed != nil {
		go feed()
	}
	return h.result()
}

// job sends a job, and waits until it was read.
func (h *host) job(job wire.Job) {
	h.t.Helper()
	check(h.t, h.in.Frame(wire.Start, job.AppendTo(nil)))
	kind, payload, err := h.out.Next()
	if kind != wire.Alive || len(payload) > 0 || err != nil {
		h.t.Fatalf("frame of kind %q: %q, %v", kind, payload, err)
	}
}

// result reads up to the End, and holds that to what came before and the guest to what it does after.
func (h *host) result() (r result) {
	h.t.Helper()
	var out, errs wire.Sum
	for {
		kind, payload, err := h.out.Next()
		if err != nil {
			h.t.Fatalf("%v, after %q and %q", err, r.out, r.err)
		}
		switch kind {
		case wire.Stdout:
			out.Add(payload)
			r.out += string(payload)
		case wire.Stderr:
			errs.Add(payload)
			r.err += string(payload)
		case wire.Credit:
			n, ok := wire.ParseCredit(payload)
			if !ok {
				h.t.Fatalf("credit %x", payload)
			}
			r.credit += n
		case wire.Ended:
			end, err := wire.ParseEnd(payload)
			check(h.t, err)
			if end.Out != out || end.Err != errs || end.Nonce != h.nonce {
				h.t.Errorf("%+v, but %+v and %+v came", end, out, errs)
			}
			r.end = *end
			h.off()
			return r
		default:
			h.t.Fatalf("frame of kind %q", kind)
		}
	}
}

// off waits until the guest has switched itself off, which in a PID namespace is SIGHUP to its parent's eyes (reboot(2)).
func (h *host) off() {
	h.t.Helper()
	go io.Copy(io.Discard, h.line)
	h.cmd.Wait()
	if testing.CoverMode() != "" && h.cmd.ProcessState.Success() {
		return
	}
	if ws := h.cmd.ProcessState.Sys().(syscall.WaitStatus); !ws.Signaled() || ws.Signal() != syscall.SIGHUP {
		h.t.Errorf("the guest ended by %v", h.cmd.ProcessState)
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// lacking skips a test that cannot run here. Where CI=true says that everything must be here, it fails.
func lacking(t *testing.T, what string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatal(what)
	}
	t.Skip(what)
}

func (r result) String() string { return fmt.Sprintf("%+v, %q, %q", r.end, r.out, r.err) }
