// Package applets is the whole of ctbox: one file is one applet, and this file is their table.
//
// # How data flows
//
// A list (ctbox-list(5), package list) is the build. fileids makes one from a tree, listdiff makes one
// from two, and everything else is a function of a list: mklayer packs it as a tar layer, and mkimage
// joins layers to an image that every engine loads; rundocker hands the image to an engine. mkinitrd packs a list
// for a Linux kernel, without layers; runkvm boots that, with ctbox itself as the guest's first process (rdinit).
// mkdisk packs a list as a disk image (package ext4).
// runlocal runs a tree without packing it, in a sandbox that is a list of system calls (package plan); what the run changed
// is a list again, and a layer (package overlay).
// libs names the shared libraries of programs, for fileids (package loader).
// try-fakeroot lets an ordinary user make trees with owners and devices, which fileids reads from its state.
//
//	names -> fileids -> list -> listdiff -> list -> mklayer -> layer -> mkimage -> image -> rundocker
//	                    list -> mkinitrd -> initrd -> runkvm
//	                    list -> mkdisk -> disk
//	tree -> runlocal -> list, layer
//
// # What must stay true
//
// Exit status 0 means that every line of the input is in the output, byte-equal to its ID. The same
// list gives the same bytes on any machine, at any time, as any user. A target file is the old one or
// the new one, whole. No name in a list can make a packer read outside its directory. Memory does not
// grow with the data.
//
// # Who may import whom
//
// This package imports internal/*, never the other way round. Only internal/cli knows kong, only
// internal/output knows renameio, only internal/compress knows klauspost/compress. Nothing links net/http.
// An applet's file declares its command type, its methods and its table entry; what two applets
// need moves to internal.
package applets

import (
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/ctbox/ctbox/applets/internal/cli"
	"github.com/ctbox/ctbox/applets/internal/guest"
)

// table holds every applet in the order of their names. Pointers to static data need no package init.
var table = [...]*cli.Applet{
	&dockjson,
	&fileids,
	&flatten,
	&gz,
	&libs,
	&listdiff,
	&listmerge,
	&memcalc,
	&mkdisk,
	&mkimage,
	&mkinitrd,
	&mklayer,
	&need,
	&rundocker,
	&runkvm,
	&runlocal,
	&sha256Applet,
	&tryFakeroot,
}

// unlisted holds applets that nobody types: no list, link or manual names them.
var unlisted = [...]*cli.Applet{&changes, &rdinit}

// Main runs the applet that args name, by args[0] (a link) or args[1], and returns the exit status.
func Main(args []string, in io.Reader, out, err io.Writer) int {
	if isInit(args) {
		guest.Main() // before anything that costs a guest's start, and whatever words the kernel hands on
	}
	std := cli.Stdio{In: in, Out: out, Err: err}
	if len(args) > 0 {
		if a := lookup(filepath.Base(args[0])); a != nil {
			return cli.Run(a, std, args[1:])
		}
		args = args[1:]
	}
	if len(args) > 0 {
		if a := lookup(args[0]); a != nil {
			return cli.Run(a, std, args[1:])
		}
		if !strings.HasPrefix(args[0], "-") {
			std.Warn("%s: no such applet (see \"ctbox --help\")", args[0])
			return cli.NotFound
		}
	}
	return cli.RunBox(&box, std, args, overview())
}

func lookup(name string) *cli.Applet {
	for _, all := range [...][]*cli.Applet{table[:], unlisted[:]} {
		for _, a := range all {
			if a.Name == name {
				return a
			}
		}
	}
	return nil
}

// box is ctbox itself, called without an applet.
var box = cli.Applet{
	Brief: "build and run containers from shell pipelines",
	New:   func() cli.Command { return new(boxCommand) },
}

type boxCommand struct {
	List    bool   `help:"Print the names of the applets."`
	Install bool   `help:"Make a link in DIR for every applet."`
	Symlink bool   `short:"s" help:"Make symbolic links; they always are."`
	Force   bool   `short:"f" help:"With --install, replace what is in the way."`
	Dir     string `arg:"" optional:"" help:"Where --install puts the links."`
}

func (c *boxCommand) Run(std cli.Stdio) error {
	switch {
	case c.Install && c.Dir == "":
		return cli.Usagef("missing operand DIR")
	case c.Install:
		return cli.Install(c.Dir, Names(), c.Force)
	case c.Dir != "":
		return cli.Usagef("extra operand %q", c.Dir)
	case c.List:
		_, err := io.WriteString(std.Out, strings.Join(Names(), "\n")+"\n")
		return err
	}
	_, err := io.WriteString(std.Out, overview())
	return err
}

// Names lists every applet in order.
func Names() []string {
	var all []string
	for _, a := range table {
		all = append(all, a.Name)
	}
	return all
}

// overview is what ctbox says of itself.
func overview() string {
	var b strings.Builder
	b.WriteString("Usage: ctbox APPLET [ARGUMENT]...\n" +
		"   or: ctbox --list | --install [-s] [-f] DIR | --version | --help\n\n")
	for _, a := range table {
		fmt.Fprintf(&b, "  %-12s %s\n", a.Name, a.Brief)
	}
	b.WriteString("\n\"ctbox APPLET --help\" says more; so does a link named APPLET.\n")
	return b.String()
}
