package vm

import (
	"os"
	"strings"
)

// CommandLine is the command that Run would give qemu, quoted for a shell. Descriptors that only ctbox can open stand in it
// as they would be in qemu.
func CommandLine(o *Options) (string, error) {
	r, err := o.prepare()
	if err != nil {
		return "", err
	}
	defer r.close()
	m := r.machine
	m.RAM, m.Kernel, m.Initrd = "/proc/self/fd/3", r.kernel.File.Name(), "/dev/stdin"
	if f, ok := o.Initrd.(*os.File); ok {
		m.Initrd = f.Name()
	}
	m.Console, m.Line, m.Control = 4, 5, 6
	var words []string
	for _, arg := range m.Args() {
		words = append(words, quote(arg))
	}
	return strings.Join(words, " "), nil
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
