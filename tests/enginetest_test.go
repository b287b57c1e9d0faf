package tests

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// An engineHandle is a container engine that the tests have for themselves: nothing of it is shared with an
// engine of the machine, and nothing of it is left when the test binary has ended, however it ends.
type engineHandle struct {
	Name    string   // "docker" or "podman"
	Command string   // path of the command, as for --engine
	Env     []string // the whole environment in which Command, and ctbox, reach the engine
	Dir     string   // everything of it; readable by all
	User    uint32   // who may use it; Command and ctbox must run as that user
	log     string
}

// startDocker returns a docker daemon, the same one for all tests. It needs root and dockerd.
func startDocker(t *testing.T) *engineHandle { return started(t, &docker) }

// startPodman returns a podman with a store of its own, the same one for all tests.
func startPodman(t *testing.T) *engineHandle { return started(t, &podman) }

// startRootlessPodman returns the podman of an ordinary user without subordinate IDs; only root can be another user.
func startRootlessPodman(t *testing.T) *engineHandle { return started(t, &rootless) }

// An engineOnce is an engine that is started when first wanted.
type engineOnce struct {
	sync.Once
	start  func() (*engineHandle, string, error)
	handle *engineHandle
	lacks  string // why it cannot be started here
	err    error
}

var (
	docker   = engineOnce{start: newDocker}
	podman   = engineOnce{start: func() (*engineHandle, string, error) { return newPodman(uint32(os.Geteuid())) }}
	rootless = engineOnce{start: newRootlessPodman}
)

func started(t *testing.T, o *engineOnce) *engineHandle {
	t.Helper()
	o.Do(func() { o.handle, o.lacks, o.err = o.start() })
	if o.err != nil {
		t.Fatal(o.err)
	}
	if o.lacks != "" {
		lacking(t, o.lacks)
	}
	return o.handle
}

// run calls the engine and returns its standard output without the last newline.
func (e *engineHandle) run(t *testing.T, args ...string) string {
	t.Helper()
	out, err := e.try(args...)
	if err != nil {
		t.Fatalf("%s %s: %v", e.Name, strings.Join(args, " "), err)
	}
	return out
}

func (e *engineHandle) try(args ...string) (string, error) {
	cmd := exec.Command(e.Command, args...)
	e.reach(cmd)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("%w: %s", err, errs.String())
	}
	return strings.TrimSuffix(string(out), "\n"), err
}

// reach lets cmd reach the engine: its environment, directory and user.
func (e *engineHandle) reach(cmd *exec.Cmd) {
	cmd.Env, cmd.Dir = e.Env, e.Dir
	if e.User != uint32(os.Geteuid()) {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: e.User, Gid: e.User}}
	}
}

const dockerScript = `dockerd --data-root "$1/data" --exec-root "$1/exec" --pidfile "$1/pid" --host "unix://$1/sock" \
	--containerd-namespace "${1##*/}" --containerd-plugins-namespace "${1##*/}-plugins" \
	--bridge=none --iptables=false </dev/null >"$1/log" 2>&1 &
read -r _
kill $!
wait $!`

func newDocker() (*engineHandle, string, error) {
	if os.Geteuid() != 0 {
		return nil, "dockerd needs root", nil
	}
	command, err := exec.LookPath("docker")
	if err == nil {
		_, err = exec.LookPath("dockerd")
	}
	if err != nil {
		return nil, err.Error(), nil
	}
	dir, err := sharedDir(dockerScript)
	if err != nil {
		return nil, "", err
	}
	e := &engineHandle{Name: "docker", Command: command, Dir: dir, log: filepath.Join(dir, "log")}
	e.Env = append(environ(), "DOCKER_HOST=unix://"+dir+"/sock", "DOCKER_CONFIG="+dir)
	return e, "", e.wait("version")
}

// wait waits until the engine answers.
func (e *engineHandle) wait(args ...string) error {
	var err error
	for range 1800 { // three minutes: daemons start slowly on a busy machine
		if _, err = e.try(args...); err == nil {
			return nil
		}
		time.Sleep(100 * time.Millisecond)
	}
	log, _ := os.ReadFile(e.log)
	return fmt.Errorf("%s does not start: %w\n%s", e.Name, err, log)
}

// Low limits, because root in a small machine may not raise them; and runc where crun cannot be used, which is
// where a hierarchy of cgroup v1 is mixed with v2 (crun: "cgroups in hybrid mode not supported").
const podmanConfig = `[engine]
cgroup_manager = "cgroupfs"
events_logger = "none"
%s
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
`

func newRootlessPodman() (*engineHandle, string, error) {
	if os.Geteuid() != 0 {
		return nil, "only root can be another user", nil
	}
	return newPodman(65533) // not nobody: files of a user who is not mapped look like nobody's
}

func newPodman(user uint32) (*engineHandle, string, error) {
	command, err := exec.LookPath("podman")
	if err != nil {
		return nil, err.Error(), nil
	}
	as := ""
	if user != uint32(os.Geteuid()) {
		as = fmt.Sprintf("setpriv --reuid=%d --regid=%[1]d --clear-groups ", user)
	}
	// What rootless podman leaves running keeps its user namespace alive.
	dir, err := sharedDir("read -r _\n" + as + `podman rm --force --all >/dev/null 2>&1
[ ! -e "$1/run/libpod/tmp/pause.pid" ] || kill "$(cat "$1/run/libpod/tmp/pause.pid")"`)
	if err != nil {
		return nil, "", err
	}
	var ociRuntime string
	if _, err := os.Stat("/sys/fs/cgroup/cgroup.controllers"); err != nil {
		if _, err := exec.LookPath("runc"); err != nil {
			return nil, "podman needs runc with cgroup v1: " + err.Error(), nil
		}
		ociRuntime = `runtime = "runc"`
	}
	storage := fmt.Sprintf("[storage]\ndriver = \"vfs\"\ngraphroot = \"%[1]s/root\"\nrunroot = \"%[1]s/run\"\n"+
		"rootless_storage_path = \"%[1]s/root\"\n[storage.options]\nignore_chown_errors = \"true\"\n", dir)
	for name, text := range map[string]string{"storage.conf": storage, "containers.conf": fmt.Sprintf(podmanConfig, ociRuntime)} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			return nil, "", err
		}
	}
	if err := errors.Join(os.Mkdir(filepath.Join(dir, "run"), 0o700), os.Chown(filepath.Join(dir, "run"), int(user), int(user)), os.Chown(dir, int(user), int(user))); err != nil {
		return nil, "", err
	}
	e := &engineHandle{Name: "podman", Command: command, Dir: dir, User: user}
	e.Env = append(environ(), podmanEnv(dir)...)
	_, err = e.try("info")
	return e, "", err
}

// environ is the environment without what would lead to another engine.
func environ() []string {
	return slices.DeleteFunc(os.Environ(), func(v string) bool {
		return strings.HasPrefix(v, "DOCKER_") || strings.HasPrefix(v, "CONTAINER")
	})
}

func podmanEnv(dir string) []string {
	return []string{"CONTAINERS_STORAGE_CONF=" + dir + "/storage.conf", "CONTAINERS_CONF=" + dir + "/containers.conf", "HOME=" + dir, "XDG_RUNTIME_DIR=" + dir + "/run"}
}

// sharedDir makes a directory for as long as the test binary lives. A shell runs script meanwhile, with the directory
// as $1; the script must end when its standard input does, which is when the test binary has ended, even by SIGKILL.
// Then what is still mounted in the directory is unmounted, and the directory removed.
func sharedDir(script string) (string, error) {
	dir, err := os.MkdirTemp("", "ctbox-test-")
	if err != nil {
		return "", err
	}
	if err := os.Chmod(dir, 0o755); err != nil { // for tests as another user
		return "", err
	}
	const after = `
awk -v d="$1/" 'index($5, d) == 1 { print $5 }' /proc/self/mountinfo | sort -r | while read -r m; do umount -l "$m"; done
rm -rf "$1"
sleep 3 # a ctbox that outlived a killed test may still be removing its container
rm -rf "$1"`
	cmd := exec.Command("sh", "-c", script+after, "sh", dir)
	cmd.Env = append(environ(), podmanEnv(dir)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // a ^C for the tests must not end it first
	alive, err := cmd.StdinPipe()
	if err != nil {
		return "", err
	}
	held = append(held, alive)
	return dir, cmd.Start()
}

// held keeps the pipes of sharedDir from being closed as garbage.
var held []io.Closer

var (
	builds   = map[string]string{}
	buildDir string
	building sync.Mutex
)

// build compiles a command of this module, statically and once, and returns its path, which every user can reach.
func build(t *testing.T, pkg string) string {
	t.Helper()
	building.Lock()
	defer building.Unlock()
	if buildDir == "" {
		dir, err := sharedDir("read -r _")
		if err != nil {
			t.Fatal(err)
		}
		buildDir = dir
	}
	if builds[pkg] == "" {
		path := filepath.Join(buildDir, filepath.Base(pkg))
		cmd := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", path, pkg)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %v\n%s", cmd, err, out)
		}
		check(t, os.Chmod(path, 0o755)) // whatever the umask is
		builds[pkg] = path
	}
	return builds[pkg]
}

// program is ctbox as users have it.
func program(t *testing.T) string { return staticCtbox(t) }

// probe is a static program for images; see testdata/probe.
func probe(t *testing.T) string { return build(t, "./testdata/probe") }
