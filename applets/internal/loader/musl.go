package loader

import (
	"path"
	"strings"
)

// muslDirs is where musl's loader looks unless a file says otherwise (musl, ldso/dynlink.c).
const muslDirs = "/lib:/usr/local/lib:/usr/lib"

// inMusl follows musl's loader, for which RPATH and RUNPATH are the same and inherited.
func (s *search) inMusl() bool {
	for by := s.by; by != nil; by = by.by {
		if s.along(by, by.rpath) || s.along(by, by.runpath) {
			return true
		}
	}
	return s.along(s.main, strings.ReplaceAll(s.muslPath(), "\n", ":"))
}

// muslPath is what is in etc/ld-musl-ARCH.path, beside the directory of the loader.
func (c *closure) muslPath() string {
	arch, _, _ := strings.Cut(path.Base(c.loader), ".so")
	text, err := c.content(path.Join(c.loader, "../../etc", arch+".path"), maxConf)
	if err != nil && isMissing(err) {
		return muslDirs
	}
	return string(text)
}

// isMusl reports whether musl's loader takes name for itself, as it is all of the C library: "libc.so", "libm.so.6",
// and also "libc.musl-x86_64.so.1".
func isMusl(name string) bool {
	name, ok := strings.CutPrefix(name, "lib")
	part, _, dot := strings.Cut(name, ".")
	return ok && dot && strings.Contains(" c pthread rt m dl util xnet ", " "+part+" ")
}
