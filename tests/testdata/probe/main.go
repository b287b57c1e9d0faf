// Command probe is the /init of the tests of engines and virtual machines: it does what its arguments say.
package main

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"time"
)

func main() {
	if len(os.Args) < 2 {
		fmt.Println("hello")
		fmt.Fprintln(os.Stderr, "log")
		return
	}
	n, rest := 0, os.Args[2:]
	if len(rest) > 0 {
		n, _ = strconv.Atoi(rest[0])
	}
	switch os.Args[1] {
	case "exit":
		os.Exit(n)
	case "bytes": // n times all 256 byte values, and a last byte that is not one of a pattern
		all := make([]byte, 256)
		for i := range all {
			all[i] = byte(i)
		}
		for range n {
			os.Stdout.Write(all)
		}
		os.Stdout.WriteString("\r\n\x00.")
	case "sleep":
		fmt.Println("up")
		time.Sleep(time.Duration(n) * time.Second)
	case "cat":
		io.Copy(os.Stdout, os.Stdin)
	case "say":
		fmt.Fprintln(os.Stderr, rest[0])
		os.Exit(1)
	case "env":
		fmt.Println(os.Getenv(rest[0]))
	case "net":
		entries, err := os.ReadDir("/sys/class/net")
		fmt.Println(entries, err)
	case "read":
		b, err := os.ReadFile(rest[0])
		fmt.Print(string(b))
		if err != nil {
			os.Exit(1)
		}
	default:
		more[os.Args[1]](n, rest)
	}
}

// more is what only the tests of virtual machines do.
var more map[string]func(n int, args []string)
