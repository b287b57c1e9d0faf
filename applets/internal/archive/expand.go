package archive

import (
	"bufio"
	"io"

	"github.com/ctbox/ctbox/applets/internal/list"
)

// ExpandInitrd writes the initrd r with all that is compressed in it unpacked: the same records in the same archives. It
// refuses what an InitrdReader does.
func ExpandInitrd(w io.Writer, r io.Reader) error {
	in := NewInitrdReader(r)
	defer in.Close()
	out := bufio.NewWriterSize(w, 256<<10)
	for segment := 0; ; {
		e, err := in.Next()
		if err == io.EOF {
			endArchive(out)
			return out.Flush()
		}
		if err != nil {
			return err
		}
		if e.Segment != segment {
			segment = e.Segment
			endArchive(out)
		}
		if err := in.copyRecord(out); err != nil {
			return err
		}
	}
}

// copyRecord copies the current record, with its content. An error of out comes again when that is flushed.
func (r *InitrdReader) copyRecord(out *bufio.Writer) error {
	out.Write(r.raw)
	size := int64(len(r.raw))
	if r.entry.Mode&list.TypeMask != list.Symlink { // whose target is in raw
		n, err := io.Copy(out, r)
		if err != nil {
			return err
		}
		size += n
	}
	out.Write(zeros[:-size&3])
	return nil
}

// endArchive writes a trailer and its padding.
func endArchive(out *bufio.Writer) { NewNewcWriter(out).Close() }
