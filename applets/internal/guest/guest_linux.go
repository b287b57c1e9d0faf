package guest

import (
	"bufio"
	"errors"
	"os"
	"os/signal"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/ctbox/ctbox/applets/internal/wire"
)

// A machine is what Main learns from the kernel's command line.
type machine struct {
	line    string      // device of the line to the host, or "" without one
	disk    string      // where the root is, as wire.ParamRoot says it, or ""
	memory  int64       // physical address of the memory shared with the host, or 0
	restart bool        // a restart is the way to end: acpi may be missing, and the host's qemu has -no-reboot
	root    unix.Stat_t // of the root as it was unpacked
	builtin []node
}

// Main is the first process of a guest. It ends by switching the machine off.
func Main() {
	// Several goroutines wait in system calls. With one processor for them, the one that is wanted would wait for up to
	// 10 ms until the runtime takes that back from another.
	runtime.GOMAXPROCS(4)
	// As any init does, this one lives on when a program sends it a signal. Programs get the default, not what is ignored.
	signal.Notify(make(chan os.Signal, 1))
	m := new(machine)
	defer m.off()
	defer m.rescue()
	if err := m.boot(); err != nil {
		say(err.Error())
	}
}

// boot runs the program that the host names or, in a machine that somebody else started, /init.
func (m *machine) boot() error {
	unix.Stat("/", &m.root)
	if os.Args[0] == wire.AddedInit {
		unix.Unlink(wire.AddedInit) // the memory is free when this process ends, as before
	}
	m.builtin = builtin()
	mountAll(kernelMounts[:])
	m.parse(readFile("/proc/cmdline"))
	prepare()
	if m.line == "" {
		return m.standalone()
	}
	return m.serve("/dev/mem")
}

// parse picks our words from a kernel's command line; of several the last counts.
func (m *machine) parse(cmdline string) {
	for word := range strings.FieldsSeq(cmdline) {
		if name, ok := strings.CutPrefix(word, wire.ParamLine); ok {
			m.line = "/dev/" + name
		}
		if at, ok := strings.CutPrefix(word, wire.ParamMemory); ok {
			m.memory, _ = strconv.ParseInt(at, 0, 64)
		}
		if root, ok := strings.CutPrefix(word, wire.ParamRoot); ok {
			m.disk = root
		}
		if kind, ok := strings.CutPrefix(word, "reboot="); ok {
			m.restart = strings.Contains(kind, "t")
		}
	}
}

// serve says Hello, waits for the host's answer and does the host's job.
func (m *machine) serve(memory string) error {
	line, err := openPort(m.line)
	if err != nil {
		return err
	}
	shared, token := offer(memory, m.memory), newToken()
	if shared != nil {
		shared.Reset(token)
	}
	if _, err := line.Write([]byte(wire.Hello{Token: token, Memory: shared != nil}.String())); err != nil {
		return err
	}
	// The host may take a snapshot here and start more than one run from it, at any later time.
	answer, err := line.readLine()
	if err != nil {
		return err
	}
	s := &session{machine: m}
	switch {
	case answer == wire.AnswerMemory && shared != nil:
		bell := wire.NewBell(line, line)
		s.in, s.out = wire.NewReader(shared.In(bell)), shared.Out(bell)
	case answer == wire.AnswerSerial:
		s.in, s.out = wire.NewReader(bufio.NewReader(line)), line
	default:
		return errors.New("the host's answer is " + strconv.Quote(answer))
	}
	if err := s.run(); err != nil {
		return err
	}
	return line.drain()
}

// standalone runs /init on the console.
func (m *machine) standalone() error {
	m.finish()
	job := &wire.Job{Dir: "/", Args: []string{"/init"}, Env: []string{defaultPath, "HOME=/root", "TERM=linux"}}
	var end wire.End
	if pid := start(job, [3]uintptr{0, 1, 2}, &end); pid > 0 {
		reap(pid, &end)
	}
	say(job.Args[0] + ": " + describe(&end))
	killAll()
	unix.Sync()
	return nil
}

func describe(end *wire.End) string {
	switch end.How {
	case wire.Exited:
		return "ended with status " + strconv.Itoa(int(end.Code))
	case wire.Signaled:
		return "ended by signal " + strconv.Itoa(int(end.Code)) + " (" + unix.SignalName(unix.Signal(end.Code)) + ")"
	}
	return end.Message
}

// say writes a line on the console, the kernel's own way of telling.
func say(text string) { os.Stderr.WriteString("ctbox rdinit: " + text + "\n") }

// rescue keeps a panic from ending the first process, which would be the kernel's panic.
func (m *machine) rescue() {
	if p := recover(); p != nil {
		text := "panic"
		if err, ok := p.(error); ok {
			text += ": " + err.Error()
		} else if s, ok := p.(string); ok {
			text += ": " + s
		}
		say(text)
		m.off()
	}
}

// off switches the machine off. The host, which takes the End for the end, does so earlier.
func (m *machine) off() {
	how := unix.LINUX_REBOOT_CMD_POWER_OFF
	if m.restart {
		how = unix.LINUX_REBOOT_CMD_RESTART
	}
	err := unix.Reboot(how)
	say("cannot switch off: " + err.Error())
	os.Exit(1)
}
