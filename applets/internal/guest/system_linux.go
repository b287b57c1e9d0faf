package guest

import (
	"golang.org/x/sys/unix"

	"github.com/ctbox/ctbox/applets/internal/wire"
)

// A mount is a file system and the directory for it, which is made if it is missing.
type mount struct {
	kind, at, data string
	flags          uintptr
}

var (
	// kernelMounts are what rdinit itself needs.
	kernelMounts = [...]mount{
		{"devtmpfs", "/dev", "mode=0755", unix.MS_NOSUID},
		{"proc", "/proc", "", unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC},
		{"sysfs", "/sys", "", unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC},
	}
	// programMounts are what programs expect besides.
	programMounts = [...]mount{
		{"devpts", "/dev/pts", "gid=5,mode=620,ptmxmode=666", unix.MS_NOSUID | unix.MS_NOEXEC},
		{"tmpfs", "/dev/shm", "mode=1777", unix.MS_NOSUID | unix.MS_NODEV},
		{"tmpfs", "/tmp", "mode=1777", unix.MS_NOSUID | unix.MS_NODEV},
	}
	// devLinks are what devtmpfs lacks.
	devLinks = [...][2]string{
		{"/proc/self/fd", "/dev/fd"},
		{"fd/0", "/dev/stdin"}, {"fd/1", "/dev/stdout"}, {"fd/2", "/dev/stderr"},
	}
)

// mountAll mounts what this kernel has; a program may do without the rest.
func mountAll(list []mount) {
	for _, m := range list {
		unix.Mkdir(m.at, 0o755)
		unix.Mount(m.kind, m.at, m.kind, m.flags, m.data)
	}
}

// prepare sets up what does not depend on the root: the host's name, the loopback interface and the limits of programs.
func prepare() {
	unix.Sethostname([]byte("localhost"))
	loopback()
	// What systemd gives; the kernel's own 4096 is less than some programs ask for.
	unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 1024, Max: 512 << 10})
}

// loopback brings the interface lo up (netdevice(7)).
func loopback() {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return
	}
	defer unix.Close(fd)
	ifr, err := unix.NewIfreq("lo")
	if err != nil || unix.IoctlIfreq(fd, unix.SIOCGIFFLAGS, ifr) != nil {
		return
	}
	ifr.SetUint16(ifr.Uint16() | unix.IFF_UP)
	unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, ifr)
}

// finish mounts what programs expect. The directories made for it do not show in the time of the root.
func (m *machine) finish() {
	for _, l := range devLinks {
		unix.Symlink(l[0], l[1])
	}
	mountAll(programMounts[:])
	setTime(unix.AT_FDCWD, "/", m.root.Mtim)
}

// setTime sets the time of modification of a file, and not of what it links to.
func setTime(dir int, path string, t unix.Timespec) error {
	return unix.UtimesNanoAt(dir, path, []unix.Timespec{t, t}, unix.AT_SYMLINK_NOFOLLOW)
}

// settle gives the guest what a snapshot has of another run: the time, and the state of the random number generator.
func settle(job *wire.Job) {
	now := unix.NsecToTimespec(job.Sec*1e9 + job.Nsec)
	unix.ClockSettime(unix.CLOCK_REALTIME, &now)
	fd, err := unix.Open("/dev/urandom", unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return
	}
	defer unix.Close(fd)
	addEntropy(fd, job.Seed)
	unix.IoctlSetInt(fd, unix.RNDRESEEDCRNG, 0)
}
