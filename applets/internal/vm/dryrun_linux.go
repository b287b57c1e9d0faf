package vm

import (
	"os"
	"strings"
)

// CommandLine is the command that Run would give qemu, quoted for a shell, or what another monitor is to be given. Descriptors that only ctbox can open stand in it
// as they would be in qemu.
func CommandLine(o *Options) (string, error) {
	r, err := o.prepare()
	if err != nil {
		return "", err
	}
	defer r.close()
	switch o.Monitor {
	case "firecracker":
		return r.firecracker()
	case "cloud-hypervisor":
		return r.cloudHypervisor(), nil
	}
	m := r.machine
	m.RAM, m.Kernel, m.Initrd = "/proc/self/fd/3", r.kernel.File.Name(), "/dev/stdin"
	if r.disk != nil {
		m.Disk, m.Initrd = r.disk.Name(), "/proc/self/fd/7"
	} else if f, ok := o.Initrd.(*os.File); ok {
		m.Initrd = f.Name()
	}
	m.Console, m.Line, m.Control = 4, 5, 6
	return quoteAll(m.Args()), nil
}

func quoteAll(args []string) string {
	var words []string
	for _, arg := range args {
		words = append(words, quote(arg))
	}
	return strings.Join(words, " ")
}

// quote makes s one word of a POSIX shell (2.2.2, single-quotes), if it is not one as it is.
func quote(s string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_./=:,+%@", r)
	}
	if s != "" && strings.TrimFunc(s, plain) == "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
