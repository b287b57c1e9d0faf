package tarball

import (
	"io"

	"github.com/ctbox/ctbox/applets/internal/archive"
	"github.com/ctbox/ctbox/applets/internal/list"
	"github.com/ctbox/ctbox/applets/internal/progress"
)

// A Whole is a source that knows its names: a Source or a Stack.
type Whole interface {
	archive.Source
	Walk(each func(name []byte) error) error
	HasRoot() bool
}

// List writes the list of all that is in a source. With null, records end in NUL.
func List(w io.Writer, src Whole, null bool, line *progress.Line) error {
	var bad error
	identify := archive.Identify{
		Open:  func() (archive.Source, error) { return Shared{src}, nil },
		Null:  null,
		Write: func(records []byte) error { _, err := w.Write(records); return err },
		Fail: func(err error) {
			if bad == nil {
				bad = err
			}
		},
		Progress: line,
	}
	if err := identify.Run(src.Walk); err != nil {
		return err
	}
	return bad
}

// Pack writes a layer of all that is in a source, below the directory prefix of the tar, or "". As with files, content is
// proven while it is copied.
func Pack(w io.Writer, src Whole, prefix string, times archive.Times, line *progress.Line) error {
	var all list.Draft
	if err := List(&all, src, true, nil); err != nil {
		return err
	}
	in := all.Input("<tar>", true)
	defer in.Close()
	layer := archive.Layer{
		List: in, Source: src, Prefix: prefix, Time: times, RootEntry: prefix != "" || src.HasRoot(), Progress: line,
		Warn: func(string, ...any) {},
	}
	return layer.Write(w)
}
