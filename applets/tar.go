package applets

import (
	"fmt"
	"io"
	"os"

	"github.com/ctbox/ctbox/applets/internal/cli"
	"github.com/ctbox/ctbox/applets/internal/tarball"
)

// tarSource is a tar as a source, and the file that it is read from.
type tarSource struct {
	*tarball.Source
	file io.Closer
}

func (s *tarSource) Close() error {
	s.Source.Close()
	return s.file.Close()
}

// openTar opens the tar of -T and tells what a user may want to know of it.
func openTar(std cli.Stdio, name string) (*tarSource, error) {
	in, label := std.In, "<stdin>"
	file := io.NopCloser(in)
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		in, file, label = f, f, name
	}
	src, err := tarball.Open(in)
	if err != nil {
		file.Close()
		return nil, fmt.Errorf("%s: %w", label, err)
	}
	if n := src.Twice; n.N > 0 {
		std.Warn("%s: names that are there more than once: %d, first %s: the last entry is taken", label, n.N, n.First)
	}
	if n := src.Implied; n.N > 0 {
		std.Warn("%s: directories that are not in the tar: %d, first %s: they get mode 0755 and owner 0:0", label, n.N, n.First)
	}
	return &tarSource{src, file}, nil
}
