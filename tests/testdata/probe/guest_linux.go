package main

import (
	"bytes"
	crand "crypto/rand"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

func init() {
	more = map[string]func(int, []string){
		"random": random, "show": show, "die": die, "pid1": pid1, "orphans": orphans, "orphan": orphan, "files": files,
		"write": write, "scribble": scribble, "flood": flood, "reboot": reboot, "now": now, "fill": fill,
	}
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "probe:", err)
		os.Exit(99)
	}
}

// random writes n MiB of which no two are alike: random bytes, always the same, and a number. Making more of them would
// take a guest longer than passing them on does.
func random(n int, _ []string) {
	block := make([]byte, 1<<20)
	rand.NewChaCha8([32]byte{}).Read(block)
	for i := range n {
		block[0], block[1] = byte(i), byte(i>>8)
		_, err := os.Stdout.Write(block)
		must(err)
	}
}

// show prints what a process is given.
func show(int, []string) {
	dir, _ := os.Getwd()
	host, _ := os.Hostname()
	fmt.Printf("args %q\ndir %q\nhost %q\nids %d %d, pid 1: %t, session leader: %t\n",
		os.Args, dir, host, os.Getuid(), os.Getgid(), os.Getpid() == 1, session() == os.Getpid())
	for _, v := range slices.Sorted(slices.Values(os.Environ())) {
		fmt.Printf("env %q\n", v)
	}
	fds, _ := os.ReadDir("/proc/self/fd")
	for _, fd := range fds {
		if to, err := os.Readlink("/proc/self/fd/" + fd.Name()); err == nil && !strings.HasPrefix(to, "/proc/") && !strings.HasPrefix(to, "anon") {
			to, _, _ = strings.Cut(to, ":")
			fmt.Printf("fd %s %s\n", fd.Name(), to)
		}
	}
	for _, name := range []string{"/proc/mounts", "/proc/sys/kernel/osrelease"} {
		b, err := os.ReadFile(name)
		fmt.Printf("%s%v\n", b, err)
	}
}

func session() int {
	id, _, _ := syscall.Syscall(syscall.SYS_GETSID, 0, 0, 0)
	return int(id)
}

// die ends by signal n.
func die(n int, _ []string) {
	signal.Reset(syscall.Signal(n))
	must(syscall.Kill(os.Getpid(), syscall.Signal(n)))
	time.Sleep(time.Minute)
}

// pid1 sends init signal n and waits whether it does something about it.
func pid1(n int, _ []string) {
	fmt.Println("sending")
	must(syscall.Kill(1, syscall.Signal(n)))
	time.Sleep(500 * time.Millisecond)
	fmt.Println("sent")
}

// orphans leaves processes that end at nothing but SIGKILL, write all the time, and have children.
func orphans(n int, _ []string) {
	for range 3 {
		cmd := exec.Command("/proc/self/exe", "orphan", "2")
		cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		must(cmd.Start())
	}
	time.Sleep(100 * time.Millisecond)
	os.Exit(n)
}

func orphan(n int, _ []string) {
	signal.Ignore(syscall.SIGTERM, syscall.SIGHUP, syscall.SIGINT, syscall.SIGPIPE)
	if n > 0 {
		cmd := exec.Command("/proc/self/exe", "orphan", fmt.Sprint(n-1))
		cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
		must(cmd.Start())
	}
	for {
		fmt.Println("orphan")
		time.Sleep(10 * time.Millisecond)
	}
}

// files prints all that is known of each file of the root file system, but not of what is mounted over it.
func files(int, []string) {
	var root syscall.Stat_t
	must(syscall.Stat("/", &root))
	must(filepath.WalkDir("/", func(path string, d fs.DirEntry, err error) error {
		must(err)
		var st syscall.Stat_t
		must(syscall.Lstat(path, &st))
		if st.Dev != root.Dev {
			fmt.Printf("%q mounted\n", path)
			return fs.SkipDir
		}
		content := ""
		switch st.Mode & syscall.S_IFMT {
		case syscall.S_IFREG:
			b, err := os.ReadFile(path)
			must(err)
			content = fmt.Sprintf("%x", sha256.Sum256(b))
		case syscall.S_IFLNK:
			content, err = os.Readlink(path)
			must(err)
		case syscall.S_IFDIR:
			st.Size, st.Blocks = 0, 0
		}
		fmt.Printf("%q %o %d:%d links %d size %d rdev %d mtime %d.%09d %q\n", path, st.Mode, st.Uid, st.Gid, st.Nlink, st.Size, st.Rdev,
			st.Mtim.Sec, st.Mtim.Nsec, content)
		return nil
	}))
}

// write writes to a file that is there, n times 4 KiB of which no byte is zero.
func write(n int, args []string) {
	f, err := os.OpenFile(args[1], os.O_WRONLY, 0)
	must(err)
	block := bytes.Repeat([]byte("c\xff\n\x01"), 1024)
	for range n {
		_, err := f.Write(block)
		must(err)
	}
	fmt.Println("written")
}

// scribble overwrites the memory that the host shares, n times and all of it.
func scribble(n int, args []string) {
	f, err := os.OpenFile("/dev/mem", os.O_RDWR, 0)
	must(err)
	b, err := syscall.Mmap(int(f.Fd()), 8<<20, 4<<20, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
	must(err)
	fmt.Println("scribbling")
	for range n {
		for i := range b {
			b[i] = args[1][0]
		}
	}
	fmt.Println("scribbled")
}

// flood writes lines to the console, n MiB or, if it is 0, for ever.
func flood(n int, _ []string) {
	f, err := os.OpenFile("/dev/console", os.O_WRONLY, 0)
	must(err)
	line := []byte(strings.Repeat("x", 1023) + "\n")
	for i := 0; n == 0 || i < n<<10; i++ {
		_, err := f.Write(line)
		must(err)
	}
	fmt.Println("done")
}

// reboot ends the machine behind init's back, after more output than fits into any buffer.
func reboot(n int, _ []string) {
	os.Stdout.Write(make([]byte, n<<10))
	must(syscall.Reboot(syscall.LINUX_REBOOT_CMD_RESTART))
}

// now prints random bytes and the time.
func now(int, []string) {
	b := make([]byte, 16)
	crand.Read(b)
	fmt.Printf("%x %d\n", b, time.Now().Unix())
}

// fill takes n MiB of memory and uses it.
func fill(n int, _ []string) {
	b := make([]byte, n<<20)
	for i := 0; i < len(b); i += 4096 {
		b[i] = 1
	}
	fmt.Println("filled", len(b)>>20)
}
