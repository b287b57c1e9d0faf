package list

import (
	"io"

	"github.com/ctbox/ctbox/applets/internal/spool"
)

// A Draft keeps a list while it is written, as an Input keeps what a pipe brings. Its zero value is empty.
type Draft struct{ spool spool.Spool }

// Write adds bytes of the list.
func (d *Draft) Write(p []byte) (int, error) { return d.spool.Write(p) }

// Copy writes it all to w.
func (d *Draft) Copy(w io.Writer) error {
	_, err := io.Copy(w, io.NewSectionReader(&d.spool, 0, d.spool.Size()))
	return err
}

// Input is what was written, under a name for messages. Its Close releases the draft's memory.
func (d *Draft) Input(name string, null bool) *Input {
	return &Input{name: name, null: null, at: &d.spool, size: d.spool.Size(), close: func() error {
		d.spool.Close()
		return nil
	}}
}
