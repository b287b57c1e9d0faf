//go:build linux && (amd64 || arm64)

package sandbox

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ctbox/ctbox/applets/internal/program"
)

// usernetOf is a usernet that has only one of the programs.
func usernetOf(t *testing.T, name string) *usernet {
	t.Helper()
	if _, err := program.Look(name); err != nil {
		idmapLacking(t, name+": "+err.Error())
	}
	u, err := usernetNew()
	if err != nil {
		t.Skip(err) // nothing that could be installed
	}
	for _, p := range u.programs {
		if p.name == name {
			u.programs = []usernetProgram{p}
		}
	}
	return u
}

// usernetStart gives a new network namespace a way out until the end of the test.
func usernetStart(t *testing.T, u *usernet) (pid int) {
	t.Helper()
	pid = idmapChild(t, syscall.CLONE_NEWNET)
	if err := idmapSingle(0, 0).apply(t.Context(), pid); err != nil {
		t.Fatal(err)
	}
	if err := u.start(t.Context(), pid); err != nil {
		t.Fatal(err)
	}
	return pid
}

// usernetEnter is a command that runs a test of this file in the namespaces of a process.
func usernetEnter(t *testing.T, pid int, test string, environment ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Open("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { self.Close() })
	cmd := exec.Command("nsenter", "-t", strconv.Itoa(pid), "-U", "-n", "--preserve-credentials",
		"/proc/self/fd/3", "-test.v", "-test.run=^"+test+"$")
	cmd.Env, cmd.ExtraFiles = append(os.Environ(), environment...), []*os.File{self}
	return cmd
}

// usernetListen listens, says its name to all who come, and returns its address.
func usernetListen(t *testing.T, network, address, name string) string {
	t.Helper()
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			fmt.Fprintln(c, name)
			c.Close()
		}
	}()
	return l.Addr().String()
}

// usernetOwn is an address of this machine that is not on its loopback.
func usernetOwn(t *testing.T) string {
	t.Helper()
	all, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range all {
		if n, ok := a.(*net.IPNet); ok && n.IP.To4() != nil && n.IP.IsGlobalUnicast() {
			return n.IP.String()
		}
	}
	t.Skip("this machine has no network")
	return ""
}

// TestUsernetProbe is what runs in the namespace: each address in PROBE is tried once, and answers or does not.
func TestUsernetProbe(t *testing.T) {
	for target := range strings.FieldsSeq(os.Getenv("PROBE")) {
		network := "tcp"
		if strings.HasPrefix(target, "@") {
			network = "unix"
		}
		c, err := net.DialTimeout(network, target, 300*time.Millisecond)
		if err != nil {
			fmt.Printf("%s: %v\n", target, err)
			continue
		}
		c.SetDeadline(time.Now().Add(time.Second))
		answer, _ := bufio.NewReader(c).ReadString('\n')
		fmt.Printf("%s: answered %q\n", target, answer)
		c.Close()
	}
}

// TestUsernet: the first packet gets out, none gets to the host's loopback or its abstract sockets; for root and for others.
func TestUsernet(t *testing.T) {
	for _, c := range []struct {
		name string
		uid  uint32
	}{{usernetSlirp, 0}, {usernetSlirp, 65534}, {usernetPasta, 0}, {usernetPasta, 65534}} {
		t.Run(fmt.Sprintf("%s-%d", c.name, c.uid), func(t *testing.T) {
			if c.uid != 0 && idmapAsUser(t, c.uid, c.uid) {
				return
			}
			u := usernetOf(t, c.name)
			abstract := "@ctbox-test-" + strconv.Itoa(os.Getpid())
			outside := usernetListen(t, "tcp4", usernetOwn(t)+":0", "outside")
			_, port, _ := net.SplitHostPort(usernetListen(t, "tcp4", "127.0.0.1:0", "loopback"))
			usernetListen(t, "unix", abstract, "abstract")
			pid := usernetStart(t, u)
			closed := []string{abstract, "127.0.0.1:" + port, u.subnet + ".2:" + port, u.subnet + ".3:" + port, "[::1]:" + port}
			answers, err := usernetEnter(t, pid, "TestUsernetProbe", "PROBE="+outside+" "+strings.Join(closed, " ")).CombinedOutput()
			out := string(answers)
			if err != nil {
				t.Errorf("%v", err)
			}
			if !strings.Contains(out, outside+`: answered "outside\n"`) {
				t.Errorf("no way out: %s", out)
			}
			for _, target := range closed {
				if !strings.Contains(out, target+": ") || strings.Contains(out, target+`: answered "loop`) || strings.Contains(out, target+`: answered "abs`) {
					t.Errorf("%s: %s", target, out)
				}
			}
			process := u.process.cmd.Process.Pid
			if err := u.stop(); err != nil || usernetLives(process) {
				t.Errorf("stopped: %v, lives %v", err, usernetLives(process))
			}
		})
	}
}

// TestUsernetServer is what runs in the namespace of TestUsernetClosed.
func TestUsernetServer(t *testing.T) {
	port := os.Getenv("SERVE")
	if port == "" {
		t.Skip("a part of TestUsernetClosed")
	}
	usernetListen(t, "tcp4", "0.0.0.0:"+port, "inside")
	fmt.Println("serves")
	time.Sleep(time.Minute)
}

// TestUsernetClosed: nobody gets in, though pasta would give every port that something listens on to the host by itself.
func TestUsernetClosed(t *testing.T) {
	for _, name := range []string{usernetSlirp, usernetPasta} {
		t.Run(name, func(t *testing.T) {
			u := usernetOf(t, name)
			pid := idmapChild(t, syscall.CLONE_NEWNET)
			if err := idmapSingle(0, 0).apply(t.Context(), pid); err != nil {
				t.Fatal(err)
			}
			port := usernetPort(t)
			usernetServe(t, pid, port)
			if err := u.start(t.Context(), pid); err != nil {
				t.Fatal(err)
			}
			defer u.stop()
			if name == usernetPasta {
				time.Sleep(1200 * time.Millisecond) // it would look every second
			}
			for _, address := range []string{"127.0.0.1", usernetOwn(t)} {
				if c, err := net.Dial("tcp4", address+":"+port); err == nil {
					c.Close()
					t.Errorf("there is a way in at %s:%s", address, port)
				}
			}
		})
	}
}

// usernetPort is one that nobody listens on here, and not one of those for outgoing connections: pasta leaves them alone.
func usernetPort(t *testing.T) string {
	t.Helper()
	for port := 20000 + os.Getpid()%10000; port < 32000; port++ {
		if l, err := net.Listen("tcp4", ":"+strconv.Itoa(port)); err == nil {
			l.Close()
			return strconv.Itoa(port)
		}
	}
	t.Skip("no port is free")
	return ""
}

// usernetServe starts TestUsernetServer in the namespaces of a process.
func usernetServe(t *testing.T, pid int, port string) {
	t.Helper()
	cmd := usernetEnter(t, pid, "TestUsernetServer", "SERVE="+port)
	out, err := cmd.StdoutPipe()
	if err := errors.Join(err, cmd.Start()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if lines.Text() == "serves" {
			return
		}
	}
	t.Fatal("nothing serves in the namespace")
}

// usernetLives reports whether a process does anything still; one that nobody has waited for does not.
func usernetLives(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !strings.Contains(string(stat), ") Z ")
}

// TestUsernetMaster is what TestUsernetKilled kills.
func TestUsernetMaster(t *testing.T) {
	name := os.Getenv("MASTER")
	if name == "" {
		t.Skip("a part of TestUsernetKilled")
	}
	u := usernetOf(t, name)
	child := usernetStart(t, u)
	fmt.Printf("started %d %d\n", u.process.cmd.Process.Pid, child)
	time.Sleep(time.Minute)
}

// TestUsernetKilled: after kill -9 nothing is left, neither as root nor as another user.
func TestUsernetKilled(t *testing.T) {
	for _, c := range []struct {
		name string
		uid  uint32
	}{{usernetSlirp, 0}, {usernetSlirp, 65534}, {usernetPasta, 0}, {usernetPasta, 65534}} {
		t.Run(fmt.Sprintf("%s-%d", c.name, c.uid), func(t *testing.T) {
			if c.uid != 0 && idmapAsUser(t, c.uid, c.uid) {
				return
			}
			usernetOf(t, c.name)
			cmd := exec.Command("/proc/self/exe", "-test.v", "-test.run=^TestUsernetMaster$")
			cmd.Env = append(os.Environ(), "MASTER="+c.name)
			out, err := cmd.StdoutPipe()
			if err := errors.Join(err, cmd.Start()); err != nil {
				t.Fatal(err)
			}
			defer cmd.Process.Kill()
			var process, child int
			for lines := bufio.NewScanner(out); process == 0 && lines.Scan(); {
				fmt.Sscanf(lines.Text(), "started %d %d", &process, &child)
			}
			if process == 0 || !usernetLives(process) || !usernetLives(child) {
				t.Fatalf("it did not start: %d, %d", process, child)
			}
			cmd.Process.Kill()
			cmd.Wait()
			for end := time.Now().Add(5 * time.Second); usernetLives(process) || usernetLives(child); time.Sleep(time.Millisecond) {
				if time.Now().After(end) {
					unix.Kill(process, unix.SIGKILL)
					t.Fatalf("left: %s %v, child %v", c.name, usernetLives(process), usernetLives(child))
				}
			}
		})
	}
}

// TestUsernetNamespaceEnds: when what ran inside is gone, stop finds what is left, if anything.
func TestUsernetNamespaceEnds(t *testing.T) {
	for _, name := range []string{usernetSlirp, usernetPasta} {
		t.Run(name, func(t *testing.T) {
			u := usernetOf(t, name)
			unix.Kill(usernetStart(t, u), unix.SIGKILL)
			time.Sleep(100 * time.Millisecond)
			if err := u.stop(); err != nil || usernetLives(u.process.cmd.Process.Pid) {
				t.Error(err)
			}
		})
	}
}

// usernetScripts is a usernet of shell scripts, each the rest of a line "#!/bin/sh".
func usernetScripts(t *testing.T, slirp, pasta string) *usernet {
	t.Helper()
	dir := t.TempDir()
	return &usernet{subnet: "10.0.2", programs: []usernetProgram{
		{usernetSlirp, idmapScript(t, dir, usernetSlirp, slirp)},
		{usernetPasta, idmapScript(t, dir, usernetPasta, pasta)},
	}}
}

// TestUsernetFails: the second program is tried when the first cannot, and what both say is told.
func TestUsernetFails(t *testing.T) {
	const warns = "echo 'WARNING: Support for seccomp is experimental' >&2; echo sent tapfd=5 for tap0; "
	u := usernetScripts(t, warns+"echo 'no such device'; echo 'child failed(1)' >&2; exit 1", "echo $$; exec sleep 60")
	if err := u.start(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	if err := u.stop(); err != nil {
		t.Error(err)
	}
	u.programs[1].path = idmapScript(t, t.TempDir(), "pasta", "echo usage; echo 'unknown option' >&2; exit 1")
	want := "ctbox test: slirp4netns: cannot set up the network: no such device; child failed(1)\nctbox test: pasta: cannot set up the network: unknown option\n"
	if got := idmapHint(u.start(t.Context(), 1)); got != want {
		t.Errorf("%q", got)
	}
	if err := errors.Join((*usernet)(nil).stop(), (&usernet{}).stop()); err != nil {
		t.Errorf("nothing to stop: %v", err)
	}
	u.programs[0].path += "-absent"
	if got := idmapHint(u.start(t.Context(), 1)); !strings.Contains(got, "no such file or directory") {
		t.Errorf("%q", got)
	}
}

// TestUsernetHangs: a program that never says it is ready ends with the context.
func TestUsernetHangs(t *testing.T) {
	dir := t.TempDir()
	u := usernetScripts(t, "echo $$ >"+dir+"/pid; exec sleep 60", "exit 1")
	ctx, cancel := context.WithCancelCause(t.Context())
	go func() { // once it hangs
		for text := []byte(nil); len(text) == 0; text, _ = os.ReadFile(dir + "/pid") {
			time.Sleep(time.Millisecond)
		}
		cancel(errors.New("late"))
	}()
	if err := u.start(ctx, 1); err == nil || err.Error() != "late" {
		t.Error(err)
	}
	text, err := os.ReadFile(dir + "/pid")
	pid, _ := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil || pid == 0 || usernetLives(pid) {
		t.Errorf("%d lives, %v", pid, err)
	}
}

// TestUsernetDies: a way out that was lost in the middle of a run is no secret.
func TestUsernetDies(t *testing.T) {
	u := usernetScripts(t, "printf 1 >&3; echo killed by >&2; echo an accident >&2; exit 3", "")
	if err := u.start(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	<-u.process.Ended
	if err := u.stop(); err == nil || err.Error() != "slirp4netns ended (exit status 3): killed by; an accident" {
		t.Error(err)
	}
}

func TestUsernetMissing(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	_, err := usernetNew()
	got := idmapHint(err)
	if !strings.Contains(got, "neither slirp4netns nor pasta is installed\n") || !strings.Contains(got, "hint: install the package slirp4netns or passt") {
		t.Errorf("%q", got)
	}
	dir := t.TempDir()
	if got := idmapHint(usernetTun(dir + "/tun")); !strings.Contains(got, dir+"/tun: no such file or directory\n") || !strings.Contains(got, "modprobe tun") {
		t.Errorf("%q", got)
	}
	if err := usernetTun(os.DevNull); err != nil {
		t.Error(err)
	}
}

// TestUsernetTunClosed: a device that only root may open.
func TestUsernetTunClosed(t *testing.T) {
	if idmapAsUser(t, 65534, 65534) {
		return
	}
	path := filepath.Join(t.TempDir(), "tun")
	if err := os.WriteFile(path, nil, 0); err != nil {
		t.Fatal(err)
	}
	if got := idmapHint(usernetTun(path)); !strings.Contains(got, "tun: permission denied\n") || !strings.Contains(got, "chmod 666") {
		t.Errorf("%q", got)
	}
}

func TestUsernetPlan(t *testing.T) {
	u := &usernet{subnet: "10.9.8", forward: true, programs: []usernetProgram{{usernetSlirp, "/bin/slirp4netns"}}}
	if got := u.plan(); !strings.HasPrefix(got, "/bin/slirp4netns --configure ") || !strings.Contains(got, "--cidr=10.9.8.0/24 --disable-host-loopback ") ||
		!strings.HasSuffix(got, " PID tap0") {
		t.Error(got)
	}
	u.programs = []usernetProgram{{usernetPasta, "/bin/pasta"}}
	if got := u.plan(); !strings.Contains(got, " --no-map-gw -t none -u none -T none -U none ") ||
		!strings.Contains(got, "--dns-forward 10.9.8.3") || !strings.HasSuffix(got, " PID") {
		t.Error(got)
	}
}
