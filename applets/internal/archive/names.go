package archive

import "golang.org/x/sys/unix"

// Names are the names in directory name, in the file system's order, without "." and "..". Directories come once more
// with a slash at the end.
func (d *Dir) Names(name []byte) ([]string, error) {
	fd, err := d.open(name)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	var names []string
	err = readdir(fd, func(entry []byte, isDir bool) {
		names = append(names, string(entry))
		if isDir {
			names = append(names, string(entry)+"/")
		}
	})
	return names, err
}
