package guest

import (
	"bytes"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ctbox/ctbox/applets/internal/wire"
)

var environment = []string{"PATH=/usr/bin:/bin", "LC_ALL=C"}

func shell(script string) wire.Job {
	return wire.Job{Args: []string{"sh", "-c", script}, Env: environment}
}

func TestProgram(t *testing.T) {
	for name, c := range map[string]struct {
		script   string
		how      byte
		code     byte
		out, err string
	}{
		"silent":   {":", wire.Exited, 0, "", ""},
		"streams":  {"echo out; echo err >&2; exit 7", wire.Exited, 7, "out\n", "err\n"},
		"bytes":    {`printf 'a\r\n\0\032\001c\377'`, wire.Exited, 0, "a\r\n\x00\x1a\x01c\xff", ""},
		"signal":   {"kill -11 $$", wire.Signaled, 11, "", ""},
		"no stdin": {"cat; test ! -t 0", wire.Exited, 0, "", ""},
		"closed":   {"exec >&-; echo err >&2; exec 2>&-; exit 3", wire.Exited, 3, "", "err\n"},
		// All that is left behind is killed, and what it writes later is not there.
		"daemons": {`sleep 1000 & (trap "" TERM HUP; setsid sh -c 'trap "" TERM; echo child; >/tmp/up; sleep 1000; echo late') &
			until test -e /tmp/up; do sleep 0.05; done; exit 4`, wire.Exited, 4, "child\n", ""},
		"orphans": {"i=0; while [ $i -lt 20 ]; do (exec sh -c 'exit 9' & ) ; i=$((i+1)); done; exit 5", wire.Exited, 5, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := boot(t, nil).do(true, shell(c.script), nil)
			if r.end.How != c.how || r.end.Code != c.code || r.out != c.out || r.err != c.err {
				t.Errorf("got %v, want %+v", r, c)
			}
		})
	}
}

// What a program finds: its own session, ordinary signals, files and limits, the name and the network of the guest.
func TestSurroundings(t *testing.T) {
	ignored := "0000000000000000"
	if signal.Ignored(syscall.SIGHUP) { // of a test under nohup(1); the kernel starts init without that
		ignored = "0000000000000001"
	}
	for want, script := range map[string]string{
		"0000000000000000 " + ignored: "awk '/SigBlk|SigIgn/ { printf \"%s%s\", s, $2; s = \" \" }' /proc/self/status",
		"0 1 2 3":                     "ls /proc/self/fd | xargs echo", // the last one is ls's own
		"0022":                        "umask",
		"localhost":                   "uname -n",
		"1777 1777":                   "stat -c %a /tmp /dev/shm | xargs echo",
		"/proc/self/fd fd/0":          "echo $(readlink /dev/fd) $(readlink /dev/stdin)",
		"0x9":                         "cat /sys/class/net/lo/flags",
		"PATH=/usr/bin:/bin X=a b":    "tr '\\0' ' ' </proc/$$/environ | sed 's/ $//'",
		"/usr":                        "pwd",
	} {
		t.Run(want, func(t *testing.T) {
			t.Parallel()
			job := shell(script)
			job.Env, job.Dir = []string{"PATH=/usr/bin:/bin", "X=a b"}, "/usr"
			if r := boot(t, nil).do(true, job, nil); strings.TrimSpace(r.out) != want {
				t.Errorf("got %v, want %q", r, want)
			}
		})
	}
}

func TestRefused(t *testing.T) {
	files := map[string]string{
		"empty": "", "text": "echo hi\n", "dos": "#!/bin/sh\r\n", "lost": "#!/no/such/shell\n", "binary": "\x00\x01\x02",
	}
	for name, c := range map[string]struct {
		job  wire.Job
		code byte
		want string
	}{
		"none":      {wire.Job{}, 127, "no program is named"},
		"missing":   {wire.Job{Args: []string{"/init"}}, 127, "/init: no such file or directory"},
		"PATH":      {wire.Job{Args: []string{"nonesuch"}}, 127, "nonesuch: not found in PATH"},
		"other":     {wire.Job{Args: []string{"sh"}, Env: []string{"PATH=/etc"}}, 127, "sh: not found in PATH"},
		"directory": {wire.Job{Args: []string{"/usr"}}, 126, "/usr: is a directory"},
		"mode":      {wire.Job{Args: []string{"/etc/passwd"}}, 126, "/etc/passwd: permission denied"},
		"empty":     {wire.Job{Args: []string{"/empty"}}, 126, "/empty: empty file"},
		"text":      {wire.Job{Args: []string{"/text"}}, 126, `/text: neither an ELF program nor a script that begins with "#!"`},
		"binary":    {wire.Job{Args: []string{"/binary"}}, 126, "/binary: neither a script nor an ELF program"},
		"dos":       {wire.Job{Args: []string{"/dos"}}, 126, "/dos: the first line ends in a carriage return"},
		"relative":  {wire.Job{Args: []string{"../lost"}, Dir: "/usr"}, 127, "../lost: its interpreter /no/such/shell is missing"},
		"dir":       {wire.Job{Args: []string{"sh"}, Dir: "/no/such"}, 125, "working directory /no/such: no such file or directory"},
		"NUL":       {wire.Job{Args: []string{"/bin/sh", "a\x00"}}, 126, "/bin/sh: invalid argument"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := boot(t, files).do(true, c.job, nil)
			if r.end.How != wire.Refused || r.end.Code != c.code || r.end.Message != c.want || r.out+r.err != "" {
				t.Errorf("got %v, want %d, %q", r, c.code, c.want)
			}
		})
	}
}

// sendStdin sends b in frames, whether or not there is credit for them.
func (h *host) sendStdin(b []byte) {
	for len(b) > 0 {
		n := min(len(b), wire.MostPayload)
		h.in.Frame(wire.Stdin, b[:n])
		b = b[n:]
	}
	h.in.Frame(wire.Stdin, nil)
}

func TestStdin(t *testing.T) {
	data := bytes.Repeat([]byte("0123456789abcde\n"), 1<<18) // 4 MiB, more than all buffers
	small := data[:2<<10]
	for name, c := range map[string]struct {
		memory bool
		script string
		in     []byte
		out    string
	}{
		"memory":        {true, "cat", data, string(data)},
		"serial":        {false, "cat", small, string(small)},
		"empty":         {true, "cat; echo end", nil, "end\n"},
		"reads some":    {true, "head -c 5; exec <&-; sleep 0.5", data, "01234"},
		"reads nothing": {true, "echo x", data, "x\n"},
		"later":         {true, "sleep 0.3; wc -c", data, "4194304\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h, job := boot(t, nil), shell(c.script)
			job.Stdin = true
			r := h.do(c.memory, job, func() { h.sendStdin(c.in) })
			if r.out != c.out || r.end.How != wire.Exited || r.end.Code != 0 {
				t.Errorf("%+v, %d bytes, %q", r.end, len(r.out), r.err)
			}
			if strings.Contains("memory serial later", name) && r.credit != int64(len(c.in)) {
				t.Errorf("credit for %d of %d bytes", r.credit, len(c.in))
			}
		})
	}
}

// More than every buffer holds, on both streams at once.
func TestMuchOutput(t *testing.T) {
	r := boot(t, nil).do(true, shell("yes | head -c 9000001 & yes no | head -c 7000001 >&2; wait"), nil)
	if len(r.out) != 9000001 || len(r.err) != 7000001 || r.end.Code != 0 {
		t.Errorf("%+v: %d and %d bytes", r.end, len(r.out), len(r.err))
	}
}

// What a program writes arrives before it writes more, whichever stream that is on: it goes on only when told so.
func TestNothingIsHeldBack(t *testing.T) {
	h := boot(t, nil)
	late := time.AfterFunc(time.Minute, func() { h.cmd.Process.Kill(); h.line.Close() })
	defer late.Stop()
	h.hello(true)
	job := shell("for i in 1 2 3; do echo a; read x; echo b >&2; read x; done")
	job.Dir, job.Stdin = "/", true
	h.job(job)
	for i := 0; ; {
		kind, payload, err := h.out.Next()
		check(t, err)
		switch want := [...]string{"a\n", "b\n"}[i%2]; kind {
		case wire.Stdout, wire.Stderr:
			if string(payload) != want {
				t.Errorf("%q, want %q", payload, want)
			}
			i++
			check(t, h.in.Frame(wire.Stdin, []byte("\n")))
		case wire.Ended:
			if i != 6 {
				t.Errorf("%d frames", i)
			}
			return
		}
	}
}

// A host that is no more, or speaks nonsense, does not keep a guest running.
func TestBadHost(t *testing.T) {
	for name, act := range map[string]func(*host){
		"answer":  func(h *host) { h.line.WriteString("what\n") },
		"endless": func(h *host) { h.line.WriteString(strings.Repeat("x", 200)) },
		"gone":    func(h *host) { h.line.Close() },
		"mute":    func(h *host) { h.hello(true); h.line.Close() },
		"no job":  func(h *host) { h.hello(true); h.in.Frame(wire.Stdin, nil) },
		"damaged": func(h *host) { h.hello(false); h.in.Frame(wire.Start, []byte("job")) },
		"hangs up": func(h *host) {
			h.hello(true)
			job := shell("yes")
			job.Dir = "/"
			h.job(job)
			h.out.Next()
			h.line.Close()
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := boot(t, nil)
			late := time.AfterFunc(30*time.Second, func() { h.cmd.Process.Kill() })
			defer late.Stop()
			act(h)
			h.off()
			if h.console() == "" {
				t.Error("the guest does not say why")
			}
		})
	}
}

// Without a host /init has the console for itself.
func TestStandalone(t *testing.T) {
	own := t.TempDir()
	check(t, os.WriteFile(own+"/init", []byte("#!/bin/sh\necho $$ hello; sleep 1000 & exit 7\n"), 0o755))
	h := &host{t: t, messages: t.TempDir() + "/console"}
	h.start(nil, role+"=standalone", "CTBOX_TEST_ROOT="+t.TempDir(), "CTBOX_TEST_FILES="+own)
	h.cmd.Wait()
	if got := h.console(); !strings.HasSuffix(got, " hello\nctbox rdinit: /init: ended with status 7\n") {
		t.Errorf("%q", got)
	}
}
