package applets

import (
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/ctbox/ctbox/applets/internal/cli"
	"github.com/ctbox/ctbox/applets/internal/program"
)

var need = cli.Applet{
	Name:    "need",
	Brief:   "check that programs are installed",
	Example: "ctbox need debootstrap qemu-system-x86_64 || exit 99",
	New:     func() cli.Command { return new(needCommand) },
}

// needCommand says "no" with status 1 and one line for each program that is missing.
type needCommand struct {
	Check    bool     `short:"c" help:"Check also that the programs could start."`
	Programs []string `arg:"" placeholder:"PROGRAM" help:"Program to look for in PATH, or its path."`
}

func (c *needCommand) Run(std cli.Stdio) error {
	missing := false
	for _, name := range c.Programs {
		if lookup(name) != nil {
			continue
		}
		path, err := program.Look(name)
		switch {
		case err != nil:
			missing = true
			if err := reportMissing(std.Err, name); err != nil {
				return err
			}
		case c.Check:
			if err := program.Check(path); err != nil {
				missing = true
				std.Warn("%s: cannot start: %s", path, err)
			}
		}
	}
	if missing {
		return cli.ExitStatus(cli.Failed)
	}
	return nil
}

// reportMissing writes the line that the cookbook's need.sh wrote, without the prefix of other messages.
func reportMissing(w io.Writer, name string) error {
	shown := strconv.Quote(name)
	if name != "" && shown == `"`+name+`"` {
		shown = name // nothing in it acts on a terminal
	}
	_, err := fmt.Fprintf(w, " -- missing tool: %s%s\n", shown, whereFrom(name))
	return err
}

// whereFrom is " (Debian: x; Fedora: y; ...)", or "" for a program that we do not know.
func whereFrom(name string) string {
	var p packaged
	for _, other := range packages {
		if other.program == name {
			p = other
		}
	}
	if p.program == "" {
		return ""
	}
	var from []string
	for _, d := range [...]struct{ name, pkg string }{
		{"Debian", p.debian}, {"Fedora", p.fedora}, {"Alpine", p.alpine}, {"Arch", p.arch},
	} {
		if d.pkg != "" {
			from = append(from, d.name+": "+d.pkg)
		}
	}
	return " (" + strings.Join(from, "; ") + ")"
}

// packaged says which package of a distribution has a program; "" where none of its own has it.
type packaged struct{ program, debian, fedora, alpine, arch string }

// packages is ordered by program.
var packages = [...]packaged{
	{"bsdtar", "libarchive-tools", "bsdtar", "libarchive-tools", "libarchive"},
	{"busybox", "busybox", "busybox", "busybox", "busybox"},
	{"bwrap", "bubblewrap", "bubblewrap", "bubblewrap", "bubblewrap"},
	{"cpio", "cpio", "cpio", "cpio", "cpio"},
	{"crane", "", "", "crane", "crane"},
	{"debootstrap", "debootstrap", "debootstrap", "debootstrap", "debootstrap"},
	{"docker", "docker.io", "moby-engine", "docker", "docker"},
	{"fakechroot", "fakechroot", "fakechroot", "fakechroot", "fakechroot"},
	{"fakeroot", "fakeroot", "fakeroot", "fakeroot", "fakeroot"},
	{"git", "git", "git", "git", "git"},
	{"gzip", "gzip", "gzip", "gzip", "gzip"},
	{"make", "make", "make", "make", "make"},
	{"mandoc", "mandoc", "mandoc", "mandoc", "mandoc"},
	{"mke2fs", "e2fsprogs", "e2fsprogs", "e2fsprogs", "e2fsprogs"},
	{"mkfs.erofs", "erofs-utils", "erofs-utils", "erofs-utils", "erofs-utils"},
	{"mkfs.ext4", "e2fsprogs", "e2fsprogs", "e2fsprogs", "e2fsprogs"},
	{"mksquashfs", "squashfs-tools", "squashfs-tools", "squashfs-tools", "squashfs-tools"},
	{"mmdebstrap", "mmdebstrap", "mmdebstrap", "", ""},
	{"nerdctl", "", "", "nerdctl", "nerdctl"},
	{"newgidmap", "uidmap", "shadow-utils", "shadow-subids", "shadow"},
	{"newuidmap", "uidmap", "shadow-utils", "shadow-subids", "shadow"},
	{"pasta", "passt", "passt", "passt", "passt"},
	{"podman", "podman", "podman", "podman", "podman"},
	{"python3", "python3", "python3", "python3", "python"},
	{"qemu-img", "qemu-utils", "qemu-img", "qemu-img", "qemu-img"},
	{"qemu-system-aarch64", "qemu-system-arm", "qemu-system-aarch64", "qemu-system-aarch64", "qemu-system-aarch64"},
	{"qemu-system-x86_64", "qemu-system-x86", "qemu-system-x86", "qemu-system-x86_64", "qemu-system-x86"},
	{"redo", "", "", "apenwarr-redo", ""},
	{"rsync", "rsync", "rsync", "rsync", "rsync"},
	{"setpriv", "util-linux", "util-linux", "setpriv", "util-linux"},
	{"shellcheck", "shellcheck", "ShellCheck", "shellcheck", "shellcheck"},
	{"skopeo", "skopeo", "skopeo", "skopeo", "skopeo"},
	{"slirp4netns", "slirp4netns", "slirp4netns", "slirp4netns", "slirp4netns"},
	{"strace", "strace", "strace", "strace", "strace"},
	{"tar", "tar", "tar", "tar", "tar"},
	{"tar2sqfs", "squashfs-tools-ng", "squashfs-tools-ng", "squashfs-tools-ng", ""},
	{"umoci", "umoci", "", "umoci", ""},
	{"unshare", "util-linux", "util-linux", "util-linux-misc", "util-linux"},
	{"xz", "xz-utils", "xz", "xz", "xz"},
	{"zstd", "zstd", "zstd", "zstd", "zstd"},
}
