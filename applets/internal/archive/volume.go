package archive

import (
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/ctbox/ctbox/applets/internal/list"
	"github.com/ctbox/ctbox/applets/internal/statcache"
)

// A volume is a file system as far as a cache can rely on it.
type volume struct {
	dev    uint64
	id     uint64 // stands for dev and, as devices change their content, for what the file system says of its identity
	steady bool   // ctime tells of every change
}

// volume describes the file system of a file.
func (c *Cache) volume(src Source, name []byte, st *Stat) volume {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, v := range c.volumes {
		if v.dev == st.Dev {
			return v
		}
	}
	v := volume{dev: st.Dev}
	d, ok := src.(interface {
		volume(name []byte, v *volume) (kind string, err error)
	})
	if !ok {
		return v
	}
	kind, err := d.volume(name, &v)
	if err != nil {
		return v // the file is gone, or another one; the next may tell
	}
	c.volumes = append(c.volumes, v)
	if !v.steady {
		c.warn(fmt.Errorf("no use for %s and others on its file system (type %s): it does not say for sure when a file changed",
			list.Quote(name), kind))
	}
	return v
}

// volume opens name, without reading it, and asks for its file system.
func (d *Dir) volume(name []byte, v *volume) (kind string, err error) {
	at, base, err := d.at(name)
	if err != nil {
		return "", err
	}
	defer d.release(at)
	fd, err := retry(func() (int, error) {
		return unix.Openat(at.fd, string(base), openNothing|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	})
	if err != nil {
		return "", err
	}
	defer unix.Close(fd)
	var raw unix.Stat_t
	if err := unix.Fstat(fd, &raw); err != nil {
		return "", err
	}
	if uint64(raw.Dev) != v.dev {
		return "", ErrRacing
	}
	return v.ask(fd)
}

// stamp is what the cache goes by, or the zero value for a file that it cannot help with.
//
// A change in a whole second of all is not believed: file systems that count no fractions have steps too long to wait
// for, and what made an image of a file system may have set the time to that of another image.
func (v *volume) stamp(st *Stat) (s statcache.Stamp) {
	if !v.steady || st.CNsec == 0 {
		return s
	}
	return statcache.Stamp{
		Volume: v.id, Inode: st.Ino, Size: st.Size,
		Sec: st.Sec, Nsec: uint32(st.Nsec), CSec: st.CSec, CNsec: uint32(st.CNsec),
	}
}

// An instant is a time since 1970.
type instant struct{ sec, nsec int64 }

// after reports whether the last change of a file was before t.
func (t instant) after(st *Stat) bool {
	return st.CSec < t.sec || st.CSec == t.sec && st.CNsec < t.nsec
}
