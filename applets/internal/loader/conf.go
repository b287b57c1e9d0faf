package loader

import (
	"path"
	"slices"
	"strings"
)

const (
	maxConf  = 64 << 10 // bytes of one file
	maxConfs = 1000     // files, patterns of them, and directories in them
)

// A conf is /etc/ld.so.conf and what it includes.
type conf struct {
	*tree
	files    []string // that have been read: one that includes itself is read once
	dirs     []string
	patterns int // that have been looked up
}

// readConf returns the directories that ldconfig(8) would look into, in order. What it cannot read it passes over,
// as ldconfig does.
func readConf(t *tree) []string {
	c := &conf{tree: t}
	c.file("/etc/ld.so.conf")
	return c.dirs
}

func (c *conf) file(name string) {
	if slices.Contains(c.files, name) || len(c.files) >= maxConfs {
		return
	}
	c.files = append(c.files, name)
	text, _ := c.content(name, maxConf)
	for line := range strings.SplitSeq(string(text), "\n") {
		line, _, _ = strings.Cut(line, "#")
		words := strings.Fields(line)
		switch {
		case len(words) == 0 || words[0] == "hwcap" || len(c.dirs) >= maxConfs:
		case words[0] == "include":
			for _, pattern := range words[1:] {
				if c.patterns++; c.patterns <= maxConfs {
					c.include(path.Dir(name), pattern)
				}
			}
		default:
			dir, _, _ := strings.Cut(line, "=") // "=libc5" and the like
			c.dirs = append(c.dirs, strings.TrimSpace(dir))
		}
	}
}

// include reads the files that a pattern names, which has wildcards in its last part at most.
func (c *conf) include(dir, pattern string) {
	if pattern[0] != '/' {
		pattern = dir + "/" + pattern
	}
	dir, base := path.Split(pattern)
	for _, name := range c.names(dir, base) {
		c.file(dir + name)
	}
}
