package archive

import (
	"golang.org/x/sys/unix"

	"github.com/ctbox/ctbox/applets/internal/list"
)

// Names are the names in directory name, in the file system's order, without "." and "..". Directories come once more
// with a slash at the end.
func (d *Dir) Names(name []byte) ([]string, error) {
	fd, err := d.list(name)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	var names []string
	err = readdir(fd, make([]byte, direntBuffer), func(entry []byte, kind uint32) {
		names = append(names, string(entry))
		if kind == list.Directory {
			names = append(names, string(entry)+"/")
		}
	})
	return names, err
}
