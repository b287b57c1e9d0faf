//go:build linux

// Command faultfs shows a directory as a FUSE file system that lies and fails as it is told to. It is for tests.
//
//	faultfs DIR MOUNTPOINT
//
// It prints "ready", or why it cannot mount, and obeys lines on standard input, each of which it answers with "ok":
//
//	NAME FAULT [N]   fault a name, relative to DIR, from now on; "." is DIR itself
//	reset            no faults; what hangs goes on, with an error
//	hung             the answer is how many requests wait in vain
//
// At the end of standard input it unmounts. The kernel is told to remember nothing.
package main

import (
	"bufio"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: faultfs DIR MOUNTPOINT")
		os.Exit(2)
	}
	// First alone: what the library says of a mount that failed does not name the cause.
	dev, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0)
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	dev.Close()
	fs := newFaultFS(os.Args[1])
	server, err := fuse.NewServer(fs, os.Args[2], &fuse.MountOptions{Name: "faultfs", DirectMount: true, DisableReadDirPlus: true})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	go server.Serve()
	if err := server.WaitMount(); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println("ready")
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		fmt.Println(fs.obey(strings.Fields(lines.Text())))
	}
	fs.obey([]string{"reset"})
	for server.Unmount() != nil {
		time.Sleep(100 * time.Millisecond) // until nobody is in it any more
	}
}

// obey takes a line and gives the answer.
func (fs *faultFS) obey(words []string) string {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if words[0] == "hung" {
		return strconv.Itoa(fs.hung)
	}
	if words[0] == "reset" {
		fs.rules, fs.counts = map[string]map[string]int64{}, map[string]int64{}
		close(fs.freed)
		fs.freed = make(chan struct{})
		return "ok"
	}
	n := int64(0)
	if len(words) == 3 {
		var err error
		if n, err = strconv.ParseInt(words[2], 10, 64); err != nil {
			fmt.Println(err)
			os.Exit(2)
		}
	}
	name, fault := words[0], words[1]
	if fs.rules[name] == nil {
		fs.rules[name] = map[string]int64{}
	}
	fs.rules[name][fault] = n
	return "ok"
}
