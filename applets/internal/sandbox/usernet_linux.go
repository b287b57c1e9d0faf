//go:build linux && (amd64 || arm64)

package sandbox

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/ctbox/ctbox/applets/internal/cli"
	"github.com/ctbox/ctbox/applets/internal/program"
)

// A usernet lets a network namespace out through a program that makes ordinary connections of its packets: slirp4netns(1) or
// pasta(1). Nobody gets in, and the host's loopback cannot be reached from the namespace.
//
// Both programs let the latter happen to packets that are addressed to 127.0.0.1 or 0.0.0.0 and yet come out of the namespace
// (slirp4netns 1.2.0, pasta 2023-03-09). No socket sends those, but a raw one can: what runs inside must not have CAP_NET_RAW.
type usernet struct {
	resolv   string // what is to be in /etc/resolv.conf
	programs []usernetProgram
	subnet   string // the first three numbers of its addresses
	forward  bool   // of DNS: resolv names subnet's server

	process *usernetProcess
}

type usernetProgram struct{ name, path string }

const usernetSlirp, usernetPasta = "slirp4netns", "pasta"

// usernetNew finds what start will use, so that the plan can have the name server in it.
//
// slirp4netns comes first, though pasta is the one that is developed: it says when it is ready, it ends when we do by more
// than a signal, and it needs no default route. Pasta adds IPv6.
func usernetNew() (*usernet, error) {
	u := &usernet{}
	for _, name := range [...]string{usernetSlirp, usernetPasta} {
		if path, err := program.Look(name); err == nil {
			u.programs = append(u.programs, usernetProgram{name, path})
		}
	}
	if len(u.programs) == 0 {
		return nil, cli.Hint(errors.New("neither slirp4netns nor pasta is installed"),
			"install the package slirp4netns or passt, or use --net none or --net host")
	}
	if err := usernetTun("/dev/net/tun"); err != nil {
		return nil, err
	}
	host := usernetHostResolv()
	routes, _ := os.ReadFile("/proc/net/route")
	u.subnet = usernetSubnet(string(routes), host)
	u.resolv, u.forward = usernetResolv(host, u.subnet+".3")
	return u, nil
}

// usernetTun says why the device that both programs use cannot be opened.
func usernetTun(path string) error {
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err == nil {
		unix.Close(fd)
		return nil
	}
	hint := "as root: modprobe tun (docker, podman: --device /dev/net/tun)"
	if err == unix.EACCES || err == unix.EPERM {
		hint = "as root: chmod 666 /dev/net/tun (docker, podman: --device /dev/net/tun)"
	}
	return cli.Hint(fmt.Errorf("%s: %w", path, err), "%s", hint)
}

// args is the command line, without what differs from run to run: the process id and, for slirp4netns, the interface after it.
func (u *usernet) args(name string) []string {
	if name == usernetSlirp {
		return []string{
			"--configure", "--mtu=65520", "--cidr=" + u.subnet + ".0/24", "--disable-host-loopback",
			"--enable-sandbox", "--enable-seccomp", "--ready-fd=3", "--exit-fd=4",
		}
	}
	args := []string{
		"--foreground", "--quiet", "--config-net", "--ns-ifname", "tap0",
		"--address", u.subnet + ".100", "--netmask", "24", "--gateway", u.subnet + ".2",
		"--no-map-gw", "-t", "none", "-u", "none", "-T", "none", "-U", "none", // no way to our loopback, and none from it
		"--no-dhcp", "--no-dhcpv6", "--no-ra", "--pid", "/dev/stdout", // which it writes when all is done
	}
	if u.forward {
		args = append(args, "--dns-forward", u.subnet+".3")
	}
	if os.Geteuid() == 0 {
		args = append(args, "--runas", "0:0") // as nobody, its default, it may not enter root's namespaces
	}
	return args
}

// plan is what a dry run prints of it.
func (u *usernet) plan() string { return strings.Join(u.command(u.programs[0], "PID"), " ") }

func (u *usernet) command(p usernetProgram, pid string) []string {
	line := append(append([]string{p.path}, u.args(p.name)...), pid)
	if p.name == usernetSlirp {
		line = append(line, "tap0")
	}
	return line
}

// start gives the network namespace of a process a way out that can be used at once, and that lasts until stop or the end of
// this process, however that comes. The process is one that waits for us, in a user namespace of ours.
func (u *usernet) start(ctx context.Context, pid int) error {
	var failed []error
	for _, p := range u.programs {
		process, err := usernetLaunch(ctx, p.name, u.command(p, strconv.Itoa(pid)))
		switch {
		case err == nil:
			u.process = process
			return nil
		case ctx.Err() != nil:
			return context.Cause(ctx)
		}
		failed = append(failed, fmt.Errorf("%s: %w", p.name, err))
	}
	return errors.Join(failed...)
}

// stop ends the way out, if there is one. That it had ended before is an error: what ran inside may have missed it.
func (u *usernet) stop() error {
	if u == nil || u.process == nil {
		return nil
	}
	return u.process.stop()
}
