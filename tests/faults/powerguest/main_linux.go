//go:build faults

// Powerguest is the init of the guests whose power TestPowerCut cuts: it says what is on the disks, and then has ctbox
// write there until the end.
package main

import (
	"crypto/sha256"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// A disk is a line of the file /disks.
type disk struct {
	name, kind, options string
	writer              string // "ctbox"; "inputs" for what it reads; "nobody" for a copy; or a careless one
	dir                 string // where it is mounted
}

func main() {
	for _, m := range [][2]string{{"devtmpfs", "/dev"}, {"proc", "/proc"}, {"sysfs", "/sys"}} {
		os.Mkdir(m[1], 0o755)
		must(unix.Mount(m[0], m[1], m[0], 0, ""))
	}
	modules, _ := filepath.Glob("/modules/*")
	slices.Sort(modules)
	for _, m := range modules {
		must(load(m))
	}
	must(wire.open())
	say("boot")
	disks, err := mountDisks()
	must(err)
	for _, d := range disks {
		must(d.look())
	}
	say("looked")
	var ref string
	var good, copies []disk
	for _, d := range disks {
		switch d.writer {
		case "ctbox":
			good = append(good, d)
		case "inputs":
			ref = d.dir
		case "nobody":
			copies = append(copies, d)
		}
	}
	must(inputs(ref))
	must(tidy(ref, copies))
	say("ready")
	for _, d := range disks {
		switch d.writer {
		case "no-fsync-of-directory", "no-fsync", "in-place":
			go func() { must(d.careless()) }()
		}
	}
	must(write(ref, good))
}

// must says what went wrong, and ends the guest, which only its host is to do.
func must(err error) {
	if err != nil {
		say("wrong " + strings.ReplaceAll(err.Error(), "\n", "; "))
		panic(err)
	}
}

// wire is a disk that leads to the host, which has heard what was written when the write is done.
var wire line

type line struct {
	sync.Mutex
	fd  int
	buf []byte
}

// sector is in bytes; so much, or a multiple, is written at once.
const sector = 4096

func (l *line) open() (err error) {
	if l.buf, err = unix.Mmap(-1, 0, 64<<10, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS); err != nil {
		return err // O_DIRECT wants whole pages, which this gives
	}
	l.fd, err = unix.Open(device("wire"), unix.O_WRONLY|unix.O_DIRECT|unix.O_CLOEXEC, 0)
	return err
}

// say sends lines to the host.
func say(lines ...string) {
	wire.Lock()
	defer wire.Unlock()
	n := copy(wire.buf, strings.Join(lines, "\n")+"\n")
	end := (n + sector - 1) / sector * sector
	clear(wire.buf[n:end])
	unix.Pwrite(wire.fd, wire.buf[:end], 0)
}

// device waits for the device of a disk. The host has a time limit.
func device(name string) string {
	for ; ; time.Sleep(time.Millisecond) {
		serials, _ := filepath.Glob("/sys/block/*/serial")
		for _, s := range serials {
			if b, err := os.ReadFile(s); err == nil && string(b) == name {
				return "/dev/" + filepath.Base(filepath.Dir(s))
			}
		}
	}
}

// load loads a module of the kernel, which may be compressed.
func load(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	flags := 0
	if !strings.HasSuffix(path, ".ko") {
		flags = unix.MODULE_INIT_COMPRESSED_FILE
	}
	if err := unix.FinitModule(int(f.Fd()), "", flags); err != nil && err != unix.EEXIST {
		return &fs.PathError{Op: "finit_module", Path: path, Err: err}
	}
	return nil
}

// mountDisks mounts what is in /disks: a line has a disk's name, file system, options of mount and writer.
func mountDisks() (disks []disk, err error) {
	b, err := os.ReadFile("/disks")
	if err != nil {
		return nil, err
	}
	for l := range strings.SplitSeq(strings.TrimSpace(string(b)), "\n") {
		f := strings.Fields(l)
		d := disk{f[0], f[1], f[2], f[3], "/d/" + f[0]}
		if err := os.MkdirAll(d.dir, 0o755); err != nil {
			return nil, err
		}
		if err := unix.Mount(device(d.name), d.dir, d.kind, 0, strings.TrimPrefix(d.options, "defaults")); err != nil {
			return nil, fmt.Errorf("mount %s: %w", d.name, err)
		}
		disks = append(disks, d)
	}
	return disks, nil
}

// look says what is on the disk.
func (d disk) look() error {
	entries, err := os.ReadDir(d.dir)
	for _, e := range entries {
		if e.Name() == "lost+found" || e.Name() == other {
			continue
		}
		sum, err := digest(filepath.Join(d.dir, e.Name()))
		if err != nil {
			return err
		}
		say(fmt.Sprintf("found %s %s %s", d.name, e.Name(), sum))
	}
	return err
}

// digest is one of a file, or of all files in a directory with their names.
func digest(path string) (string, error) {
	sum := sha256.New()
	err := filepath.WalkDir(path, func(p string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			fmt.Fprintf(sum, "%s/\n", strings.TrimPrefix(p, path))
			return err
		}
		b, err := os.ReadFile(p)
		add(sum, strings.TrimPrefix(p, path), b)
		return err
	})
	return fmt.Sprintf("%x", sum.Sum(nil)), err
}

// digestOf is what digest will be of a file with this content.
func digestOf(content []byte) string {
	sum := sha256.New()
	add(sum, "", content)
	return fmt.Sprintf("%x", sum.Sum(nil))
}

func add(w io.Writer, name string, content []byte) {
	fmt.Fprintf(w, "%s %d\n%s", name, len(content), content)
}
