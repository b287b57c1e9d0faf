package image

import (
	"strings"

	"github.com/ctbox/ctbox/applets/internal/archive"
)

const (
	blockSize = archive.TarBlock
	endOfTar  = archive.TarEnd
	fileMode  = 0o644
	dirMode   = 0o755
)

// header is the tar header of a file, or of a directory when name ends with a slash: owner 0:0, no names of owners.
func header(name string, size, mtime int64) []byte {
	e := archive.TarEntry{Name: []byte(name), Kind: '0', Mode: fileMode, Size: size, Time: mtime}
	if strings.HasSuffix(name, "/") {
		e.Kind, e.Mode = '5', dirMode
	}
	b, _ := archive.AppendTarHeader(nil, &e) // fails only for devices and attributes
	return b
}

// pad fills b up to a whole number of blocks.
func pad(b []byte) []byte { return append(b, make([]byte, padding(int64(len(b))))...) }

func padding(size int64) int64 { return archive.TarPadding(size) }
