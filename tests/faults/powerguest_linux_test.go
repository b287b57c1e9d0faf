//go:build faults

package faults

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// A guest is a machine with the disks of a supply; see directory powerguest for what runs in it.
type guest struct {
	t      *testing.T
	supply *supply
	names  []string // of disks, in their order
	dir    string   // where all files are
	kernel string
	accel  string                          // "kvm" or "tcg"
	works  bool                            // accel does
	hear   func(line string) (counts bool) // gets each line that the guest says; run counts some

	// The rest is for one run, and for whoever holds the lock of supply.
	lines    int           // that count, until requests are counted
	requests int           // from then on until the cut
	booted   chan struct{} // closed when the guest says that it runs
}

// wire is the disk that the guest writes what it says to.
const wire = "wire"

// newGuest makes all that a guest needs, with volumes as its disks.
func newGuest(t *testing.T, volumes []volume) *guest {
	t.Setenv("PATH", os.Getenv("PATH")+":/usr/sbin:/sbin")
	requireTool(t, "qemu-system-x86_64")
	dir, err := os.MkdirTemp("/tmp", "ctbox-power-") // t.TempDir() may be too long for a socket
	check(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	g := &guest{t: t, dir: dir, kernel: stockKernel(t), accel: "tcg", names: []string{wire}}
	if f, err := os.OpenFile("/dev/kvm", os.O_RDWR, 0); err == nil {
		f.Close()
		g.accel = "kvm"
	}
	g.supply = &supply{rand: rand.New(rand.NewPCG(*cutSeed, 1)), disks: map[string]*disk{wire: {data: make([]byte, 1<<20), heard: g.listen}}}
	for _, v := range volumes {
		makeVolume(t, v, g.path(v.name))
		d, err := openDisk(g.path(v.name))
		check(t, err)
		g.names, g.supply.disks[v.name] = append(g.names, v.name), d
	}
	g.initrd(volumes)
	l, err := net.Listen("unix", g.path("socket"))
	check(t, err)
	t.Cleanup(func() { l.Close() })
	go g.supply.serve(l)
	return g
}

func (g *guest) path(name string) string { return filepath.Join(g.dir, name) }

// stockKernel is the newest kernel of Debian's package linux-image-cloud-amd64: it has ext4 built in.
func stockKernel(t *testing.T) string {
	t.Helper()
	kernels, _ := filepath.Glob("/boot/vmlinuz-*-cloud-amd64")
	if len(kernels) == 0 {
		lacking(t, "no kernel in /boot")
	}
	return kernels[len(kernels)-1]
}

// initrd has ctbox make the initrd: with powerguest, ctbox, a table of the disks, and modules for their file systems.
func (g *guest) initrd(volumes []volume) {
	check(g.t, os.MkdirAll(g.path("tree/modules"), 0o755))
	var table strings.Builder
	modules := append(g.modules("virtio_pci"), g.modules("virtio_blk")...) // qemu 7.2's NVMe loses what is written with FUA
	for _, v := range volumes {
		fmt.Fprintln(&table, v.name, v.kind, v.options, v.writer)
		for _, m := range g.modules(v.kind) {
			if !slices.Contains(modules, m) {
				modules = append(modules, m)
			}
		}
	}
	check(g.t, os.WriteFile(g.path("tree/disks"), []byte(table.String()), 0o644))
	for i, m := range modules {
		g.add(m, fmt.Sprintf("modules/%03d-%s", i, filepath.Base(m)))
	}
	g.add(program, "ctbox")
	build := exec.Command("go", "build", "-tags", "faults", "-o", g.path("tree/init"), "./powerguest")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		g.t.Fatalf("%v: %v\n%s", build, err, out)
	}
	ctbox(g.t, g.dir, ctbox(g.t, g.dir, "", "fileids", "--owner=0:0", "tree"), "mkinitrd", "-C", "tree", "-o", "initrd")
}

// add copies a file to the initrd's tree.
func (g *guest) add(file, name string) {
	b, err := os.ReadFile(file)
	check(g.t, err)
	check(g.t, os.WriteFile(g.path("tree/"+name), b, 0o755))
}

// modules are the files of the module name and of those that it needs, in the order in which they must be loaded; none if the
// kernel has it built in.
func (g *guest) modules(name string) (files []string) {
	dir := filepath.Join("/lib/modules", strings.TrimPrefix(filepath.Base(g.kernel), "vmlinuz-"))
	dep, err := os.ReadFile(filepath.Join(dir, "modules.dep"))
	if err != nil {
		lacking(g.t, err.Error())
	}
	for line := range strings.Lines(string(dep)) {
		if file, needs, _ := strings.Cut(line, ":"); strings.Contains(file, "/"+name+".ko") {
			for _, f := range append([]string{file}, strings.Fields(needs)...) {
				files = append(files, filepath.Join(dir, f))
			}
		}
	}
	slices.Reverse(files)
	return files
}

// listen gets what the guest says.
func (g *guest) listen(text string) {
	for line := range strings.Lines(strings.TrimRight(text, "\x00")) {
		line = strings.TrimSuffix(line, "\n")
		if line == "boot" {
			close(g.booted)
		}
		if !g.hear(line) {
			continue
		}
		if g.lines--; g.lines == 0 {
			g.supply.left = g.requests
		}
	}
}

// run starts the guest and cuts its power: after so many lines that count, and then so many requests to any disk.
func (g *guest) run(lines, requests int) {
	g.t.Helper()
	err := g.try(lines, requests)
	if err != nil && g.accel == "kvm" && !g.works { // present and broken, as in some machines that are guests themselves
		g.accel = "tcg"
		err = g.try(lines, requests)
	}
	if err != nil {
		console, _ := os.ReadFile(g.path("console"))
		g.t.Fatalf("%v\n%s", err, console[max(0, len(console)-3000):])
	}
	g.works = true
}

func (g *guest) try(lines, requests int) error {
	var said bytes.Buffer
	qemu := exec.Command("qemu-system-x86_64", g.args()...)
	qemu.Stdout, qemu.Stderr = &said, &said
	cut, ended := g.start(lines, requests), make(chan struct{})
	check(g.t, qemu.Start())
	go func() {
		qemu.Wait()
		close(ended)
	}()
	defer func() {
		qemu.Process.Kill()
		<-ended
		g.supply.off()
	}()
	silence, limit := time.After(10*time.Second), time.After(10*time.Minute)
	for booted := g.booted; ; {
		select {
		case <-cut:
			return nil
		case <-booted:
			g.works, booted = true, nil
		case <-ended:
			return fmt.Errorf("qemu ended: %s", &said)
		case <-silence:
			if g.accel == "kvm" && !g.works {
				return errors.New("KVM does nothing")
			}
		case <-limit:
			return errors.New("the guest hangs")
		}
	}
}

// start switches the power on, for as long as run says. The channel that it returns is closed by the cut.
func (g *guest) start(lines, requests int) <-chan struct{} {
	g.supply.Lock()
	defer g.supply.Unlock()
	g.lines, g.requests, g.booted = lines, requests, make(chan struct{})
	g.supply.left, g.supply.wait, g.supply.out = -1, 0, make(chan struct{})
	if lines == 0 {
		g.supply.left = requests
	}
	return g.supply.out
}

func (g *guest) args() []string {
	words := "rdinit=/init panic=-1 oops=panic cryptomgr.notests init_on_alloc=0 console=ttyS0 reboot=t no_timer_check 8250.nr_uarts=1 initcall_blacklist=i8042_init quiet loglevel=4"
	cpu := "max"
	if g.accel == "tcg" { // as package vm says
		words, cpu = words+" noreplace-smp", "max,-erms,-fsrm"
	}
	args := []string{
		"-M", "q35", "-accel", g.accel, "-cpu", cpu, "-m", "256M", "-kernel", g.kernel, "-initrd", g.path("initrd"), "-append", words,
		"-no-reboot", "-nodefaults", "-no-user-config", "-display", "none", "-nic", "none", "-serial", "file:" + g.path("console"),
	}
	for _, name := range g.names {
		args = append(args, "-blockdev", fmt.Sprintf("driver=nbd,node-name=%s,export=%s,server.type=unix,server.path=%s", name, name, g.path("socket")),
			"-device", fmt.Sprintf("virtio-blk-pci,drive=%s,serial=%s,logical_block_size=%d,physical_block_size=%d", name, name, sector, sector))
	}
	return args
}
