package sandbox

import (
	"os"
	"strconv"
	"strings"
)

// evidence is what an explanation goes by: files below root, which is "" but in tests, and what only calls tell.
type evidence struct {
	root     string
	exe      string // path of this program
	release  string // the kernel's
	euid     int
	nproc    uint64 // RLIMIT_NPROC
	dumpable bool   // PR_GET_DUMPABLE
	jailed   bool   // "/" is no mount point, or not that of the first process
	look     func(name string) (string, error)
	nosuid   func(path string) bool // of its file system
	setcap   func(path string) bool // whether the file has capabilities
}

// read returns a file without the space around it, "" if there is none.
func (ev *evidence) read(name string) string {
	text, _ := os.ReadFile(ev.root + "/" + name)
	return strings.Trim(string(text), " \n\x00")
}

// lines is the same, cut up.
func (ev *evidence) lines(name string) []string { return strings.Split(ev.read(name), "\n") }

func (ev *evidence) exists(name string) bool {
	_, err := os.Lstat(ev.root + "/" + name)
	return err == nil
}

// knob is the value of a sysctl(8).
func (ev *evidence) knob(name string) string { return ev.read("proc/sys/" + name) }

// status is a field of /proc/self/status.
func (ev *evidence) status(field string) string {
	for _, line := range ev.lines("proc/self/status") {
		if name, value, _ := strings.Cut(line, ":"); name == field {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

const sysAdmin = 21 // CAP_SYS_ADMIN (linux/capability.h)

func (ev *evidence) capable(capability int) bool {
	set, _ := strconv.ParseUint(ev.status("CapEff"), 16, 64)
	return set>>capability&1 != 0
}

// mapped says whether the present user namespace has a number for this user: without, the kernel makes no other.
func (ev *evidence) mapped() bool {
	for _, line := range ev.lines("proc/self/uid_map") {
		f := strings.Fields(line)
		if len(f) != 3 {
			continue
		}
		first, _ := strconv.ParseInt(f[0], 10, 64)
		count, _ := strconv.ParseInt(f[2], 10, 64)
		if uid := int64(ev.euid); first <= uid && uid < first+count {
			return true
		}
	}
	return !ev.exists("proc/self/uid_map")
}

// gvisor knows it by the date that it has always said its kernel was built on.
func (ev *evidence) gvisor() bool {
	version := ev.read("proc/version")
	return strings.Contains(version, "gvisor") || strings.Contains(version, "Sun Jan 10 15:06:54 PST 2016")
}

// chrooted says whether the root directory is not the root of the mounts.
func (ev *evidence) chrooted() bool {
	return ev.jailed || !ev.isMounted("/") && ev.exists("proc/self/mountinfo")
}

// A mounted is one line of /proc/self/mountinfo.
type mounted struct{ point, options, kind string }

// mounts are in the order in which they were made, so that the last at a point is the one that is seen.
func (ev *evidence) mounts() []mounted {
	var all []mounted
	for _, line := range ev.lines("proc/self/mountinfo") {
		before, after, ok := strings.Cut(line, " - ")
		f := strings.Fields(before)
		kind, _, _ := strings.Cut(after, " ")
		if ok && len(f) > 5 {
			all = append(all, mounted{unescape(f[4]), f[5], kind})
		}
	}
	return all
}

func (ev *evidence) isMounted(point string) bool {
	for _, m := range ev.mounts() {
		if m.point == point {
			return true
		}
	}
	return false
}

// unescape takes back what mountinfo makes of a space, tab, newline and backslash: "\040".
func unescape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// kindOf is the type of the file system that path is on, "" if mountinfo does not have it.
func (ev *evidence) kindOf(path string) string {
	var point, kind string
	for _, m := range ev.mounts() {
		if within(path, m.point) && len(m.point) >= len(point) {
			point, kind = m.point, m.kind
		}
	}
	return kind
}

// shellWord quotes what is not a plain word, for commands that are to be pasted.
func shellWord(s string) string {
	const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-+./:=@%,"
	if s != "" && strings.Trim(s, plain) == "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
