package loader

import (
	"path"
	"strings"

	"github.com/ctbox/ctbox/applets/internal/list"
)

// A search tries the places where a library may be.
type search struct {
	*closure
	by   *member // who needs it
	need string
	got  *member // what was found
	best error   // what was wrong with the best of those that were not it
}

// run reports whether the library was found, or that it is no use to look any longer.
func (s *search) run() bool {
	switch {
	case strings.Contains(s.need, "/"):
		return s.each(s.expand(s.by, s.need), "")
	case s.musl:
		return s.inMusl()
	}
	return s.inGlibc()
}

// at reports whether the library is at a path.
func (s *search) at(path string) bool {
	if s.probes++; s.probes > maxProbes {
		return true
	}
	path = s.absolute(path)
	l := s.library(path)
	switch {
	case l.err == nil && l.fits(s.main.abi):
		s.got = &member{l, path, s.by}
		return true
	case l.err == nil && s.best == errMissing:
		s.best = errForeign
	case l.err != nil && !isMissing(l.err) && (s.best == errMissing || s.best == errForeign):
		s.best = explain(list.Quote(s.tidy(path)), l.err)
	}
	return false
}

// each reports whether the library is at one of the paths, which end differs from it by.
func (s *search) each(paths []string, end string) bool {
	for _, path := range paths {
		if s.at(path + end) {
			return true
		}
	}
	return false
}

// inGlibc follows ld.so(8), but for LD_LIBRARY_PATH and the directories of libraries for some processors only
// (glibc-hwcaps): what is found is to be right elsewhere, too.
func (s *search) inGlibc() bool {
	for by := s.by; by != nil && !s.by.hasRunpath; by = by.by {
		if s.along(by, by.rpath) {
			return true
		}
	}
	if s.along(s.by, s.by.runpath) {
		return true
	}
	s.ask()
	defaults := s.defaults()
	for _, path := range s.cached[s.need] {
		if !s.barred(path, defaults) && s.at(path) {
			return true
		}
	}
	for _, dir := range append(s.conf, defaults...) {
		if path := dir + "/" + s.need; !s.barred(path, defaults) && s.at(path) {
			return true
		}
	}
	return false
}

// barred reports whether path is in a default directory and the library must not be: ld.so compares prefixes.
func (s *search) barred(path string, defaults []string) bool {
	for _, dir := range defaults {
		if s.by.noDefault && strings.HasPrefix(path, dir+"/") {
			return true
		}
	}
	return false
}

// along reports whether the library is in one of the directories of m's RPATH.
func (s *search) along(m *member, rpath string) bool {
	if rpath == "" {
		return false
	}
	for _, dir := range strings.Split(rpath, ":") {
		if dir == "" {
			if s.musl {
				continue
			}
			dir = "."
		}
		if s.each(s.expand(m, dir), "/"+s.need) {
			return true
		}
	}
	return false
}

// ask reads what ld.so knows of the tree beside its programs.
func (f *Finder) ask() {
	if f.asked {
		return
	}
	f.asked = true
	const most = 100 // architectures: Debian has some thirty
	text, _ := f.content("/etc/ld.so.cache", maxCache)
	if f.cached = parseCache(text); f.cached == nil {
		f.conf = readConf(&f.tree)
	}
	for _, dir := range [...]string{"/lib", "/usr/lib"} {
		for _, name := range f.names(dir, "*-linux-gnu*") {
			if len(f.libs) < most {
				f.libs = append(f.libs, "lib/"+name)
			}
		}
	}
}

// possible are the names that the directory of libraries may have below / and /usr. Each distribution builds its own
// into its loader; those of other classes and machines do no harm here.
func (c *closure) possible() []string {
	c.ask()
	libs := append([]string{}, c.libs...)
	if c.main.class == wide {
		libs = append(libs, "lib64")
	} else {
		libs = append(libs, "lib32", "libx32")
	}
	return append(libs, "lib")
}

func (c *closure) defaults() (dirs []string) {
	for _, lib := range c.possible() {
		dirs = append(dirs, "/"+lib, "/usr/"+lib)
	}
	return dirs
}

// expand replaces what ld.so(8) calls dynamic string tokens. $LIB may stand for several directories, and is the same
// wherever it stands; where a token stands for nothing, there is no result.
func (c *closure) expand(m *member, s string) (all []string) {
	const most = 8 // tokens; more make long paths only
	tokens := strings.Count(s, "$")
	platform := platform(c.main.machine)
	known := platform != "" && !c.musl
	switch {
	case tokens == 0:
		return []string{s}
	case tokens > most || strings.Contains(s, "PLATFORM") && !known:
		return nil
	}
	libs := []string{""}
	if strings.Contains(s, "LIB") {
		libs = nil
		if !c.musl {
			libs = c.possible()
		}
	}
	for _, lib := range libs {
		origin := path.Dir(m.path)
		all = append(all, strings.NewReplacer("${ORIGIN}", origin, "$ORIGIN", origin, "${LIB}", lib, "$LIB", lib,
			"${PLATFORM}", platform, "$PLATFORM", platform).Replace(s))
	}
	return all
}

// platform is AT_PLATFORM of the kernel where that does not depend on the processor, or "".
func platform(machine uint16) string {
	switch machine {
	case 3:
		return "i686"
	case 62:
		return "x86_64"
	case 183:
		return "aarch64"
	}
	return ""
}
