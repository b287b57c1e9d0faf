package main

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
	"unsafe"
)

func init() {
	for name, run := range map[string]func(int, []string){
		"ruin": ruin, "trap": trap, "stubborn": stubborn, "mute": mute, "umask": umask, "cwd": cwd, "parent": parent, "crash": crash,
	} {
		more[name] = run
	}
}

// ruin writes to, renames and removes every file below a directory that it may.
func ruin(_ int, args []string) {
	var all []string
	filepath.WalkDir(args[0], func(path string, d fs.DirEntry, err error) error {
		if strings.HasPrefix(path, "/proc") || strings.HasPrefix(path, "/dev") {
			return fs.SkipDir
		}
		all = append(all, path)
		return nil
	})
	for i := len(all) - 1; i > 0; i-- {
		os.Chmod(all[i], 0o777)
		os.Chtimes(all[i], time.Now(), time.Now())
		os.WriteFile(all[i], []byte("ruined\n"), 0o666)
		os.Rename(all[i], all[i]+".old")
		if err := os.RemoveAll(all[i] + ".old"); err != nil {
			fmt.Println(err)
		}
	}
	os.WriteFile(filepath.Join(args[0], "new"), []byte("new\n"), 0o666)
	fmt.Println("done")
}

// trap names each signal that comes, and exits n tenths of a second after SIGTERM or SIGINT; never if n is 0.
func trap(n int, _ []string) {
	got := make(chan os.Signal, 9)
	signal.Notify(got, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGWINCH, syscall.SIGCONT)
	fmt.Println("up")
	for s := range got {
		fmt.Println(s)
		if s == syscall.SIGTERM || s == syscall.SIGINT {
			for n == 0 {
				time.Sleep(time.Second)
			}
			time.Sleep(time.Duration(n) * 100 * time.Millisecond)
			fmt.Println("end")
			os.Exit(3)
		}
	}
}

// stubborn goes on writing when nobody reads.
func stubborn(int, []string) {
	signal.Ignore(syscall.SIGPIPE)
	for {
		syscall.Write(1, []byte("on\n"))
		time.Sleep(10 * time.Millisecond)
	}
}

// mute writes once and never again.
func mute(int, []string) {
	fmt.Println("up")
	for {
		time.Sleep(time.Hour)
	}
}

func umask(int, []string) {
	fmt.Printf("%03o\n", syscall.Umask(0))
}

func cwd(int, []string) {
	dir, err := os.Getwd()
	must(err)
	fmt.Println(dir)
}

// parent runs a command and says how it ended.
func parent(_ int, args []string) {
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := cmd.Run(); err != nil {
		fmt.Println(err)
	}
}

// crash dies of a signal that also the first process of a namespace dies of, since the kernel sends it.
func crash(int, []string) {
	signal.Reset()
	action := [4]uint64{} // SIG_DFL; Go's handler would print a trace
	_, _, errno := syscall.RawSyscall6(syscall.SYS_RT_SIGACTION, uintptr(syscall.SIGSEGV), uintptr(unsafe.Pointer(&action)), 0, 8, 0, 0)
	if errno != 0 {
		must(errno)
	}
	b, err := syscall.Mmap(-1, 0, 4096, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_PRIVATE|syscall.MAP_ANON)
	must(err)
	at := &b[0]
	must(syscall.Munmap(b))
	*at = 1
}
