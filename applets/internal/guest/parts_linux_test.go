package guest

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ctbox/ctbox/applets/internal/wire"
)

func TestParse(t *testing.T) {
	for cmdline, want := range map[string]machine{
		"":                      {},
		"console=ttyS0 quiet\n": {},
		wire.ParamLine + "ttyS1 " + wire.ParamMemory + "0x1000 reboot=t": {line: "/dev/ttyS1", memory: 4096, restart: true},
		"reboot=a,w panic=-1": {},
		"reboot=t reboot=a " + wire.ParamLine + "a " + wire.ParamLine + "b": {line: "/dev/b"},
		wire.ParamMemory + "junk": {},
	} {
		m := new(machine)
		m.parse(cmdline)
		if m.line != want.line || m.memory != want.memory || m.restart != want.restart {
			t.Errorf("%q: %+v", cmdline, m)
		}
	}
}

func TestDescribe(t *testing.T) {
	for want, end := range map[string]wire.End{
		"ended with status 7":          {How: wire.Exited, Code: 7},
		"ended by signal 11 (SIGSEGV)": {How: wire.Signaled, Code: 11},
		"no such program":              {How: wire.Refused, Code: 127, Message: "no such program"},
	} {
		if got := describe(&end); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// TestBoot starts a guest that nobody waits for, as Main does, with the first process that was added to its initrd.
func TestBoot(t *testing.T) {
	own := t.TempDir()
	script := "#!/bin/sh\ntest -e " + wire.AddedInit + " && echo still there\necho $$ hello; kill -9 $$\n"
	check(t, os.WriteFile(own+"/init", []byte(script), 0o755))
	check(t, os.WriteFile(filepath.Join(own, wire.AddedInit), nil, 0o755))
	h := &host{t: t, messages: t.TempDir() + "/console"}
	h.start(nil, role+"=boot", "CTBOX_TEST_ROOT="+t.TempDir(), "CTBOX_TEST_FILES="+own)
	h.cmd.Wait()
	if got := h.console(); !strings.HasSuffix(got, " hello\nctbox rdinit: /init: ended by signal 9 (SIGKILL)\n") || strings.Contains(got, "still") {
		t.Errorf("%q", got)
	}
}

// What the kernel's own initramfs has is made again, with its time.
func TestRestore(t *testing.T) {
	dir := t.TempDir()
	old, when := filepath.Join(dir, "old"), unix.Timespec{Sec: 7}
	check(t, os.Mkdir(old, 0o755))
	var nodes []node
	for name, mode := range map[string]uint32{"a": unix.S_IFDIR | 0o1700, "b": unix.S_IFIFO | 0o640} {
		nodes = append(nodes, node{filepath.Join(dir, name), unix.Stat_t{Mode: mode, Mtim: when}})
	}
	check(t, restore(nodes))
	for _, n := range nodes {
		var st unix.Stat_t
		if err := unix.Lstat(n.path, &st); err != nil || st.Mode != n.st.Mode || st.Mtim != when {
			t.Errorf("%s: %v, mode %o, time %v", n.path, err, st.Mode, st.Mtim)
		}
	}
	if err := restore(nodes[:1]); err == nil || err.Error() != "make "+nodes[0].path+": file exists" {
		t.Error(err)
	}
}

func TestAddEntropyRefused(t *testing.T) {
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	check(t, err)
	defer null.Close()
	if err := addEntropy(int(null.Fd()), []byte("seed")); err != unix.ENOTTY {
		t.Error(err)
	}
	if err := addEntropy(-1, nil); err != nil {
		t.Errorf("no seed: %v", err)
	}
}

// Memory that is not there, or not ours, is not offered to the host.
func TestOfferNothing(t *testing.T) {
	page := int64(os.Getpagesize())
	for name, got := range map[string]*wire.Memory{
		"not given": offer(os.DevNull, 0), "no /dev/mem": offer("/no/such", page), "not to be mapped": offer(os.DevNull, page),
	} {
		if got != nil {
			t.Errorf("%s: offered", name)
		}
	}
	if !ownedByKernel(0, 1<<62) {
		t.Error("no memory is the kernel's")
	}
}

func TestPorts(t *testing.T) {
	for path, want := range map[string]string{"/no/such": "open /no/such: no such file or directory", os.DevNull: "set up /dev/null: inappropriate ioctl for device"} {
		if _, err := openPort(path); err == nil || err.Error() != want {
			t.Errorf("%v, want %s", err, want)
		}
	}
	r, w, err := newPipe()
	check(t, err)
	r.close()
	if n, err := w.Write([]byte("x")); n != 0 || err != unix.EPIPE {
		t.Errorf("%d, %v", n, err)
	}
	w.close()
	if _, err := port(-1).Read(make([]byte, 1)); err != unix.EBADF {
		t.Error(err)
	}
	if readFile("/no/such") != "" || readFile("/proc/self/comm") == "" {
		t.Error("readFile")
	}
}

// After an End nothing is sent: neither output nor credit.
func TestEndedSession(t *testing.T) {
	stdout, out, err := newPipe()
	check(t, err)
	stderr, errs, err := newPipe()
	check(t, err)
	defer errs.close()
	defer stderr.close()
	defer stdout.close()
	out.Write([]byte("late"))
	out.close()
	s := &session{out: io.Discard, ended: true}
	if err := s.relay(stdout, stderr, new(wire.End)); !errors.Is(err, errEnded) {
		t.Error(err)
	}
	tree := &treeReader{s: s, used: 5}
	if _, err := tree.Read(make([]byte, 1)); !errors.Is(err, errEnded) {
		t.Error(err)
	}
	tree = &treeReader{s: s, end: true}
	if _, err := tree.Read(make([]byte, 1)); err != io.EOF {
		t.Error(err)
	}
}
