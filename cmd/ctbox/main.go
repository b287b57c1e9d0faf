// Command ctbox is a multicall binary of filters that build and run containers.
package main

import (
	"os"

	"github.com/ctbox/ctbox/applets"
)

func main() {
	os.Exit(applets.Main(os.Args, os.Stdin, os.Stdout, os.Stderr))
}
