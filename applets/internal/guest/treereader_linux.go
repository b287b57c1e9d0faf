package guest

import (
	"errors"
	"io"

	"github.com/ctbox/ctbox/applets/internal/wire"
)

// A treeReader reads what Tree frames hold, and gives credit for it.
type treeReader struct {
	s    *session
	left []byte
	used int // bytes of the last frame, for which credit is due
	end  bool
}

func (t *treeReader) Read(p []byte) (int, error) {
	if len(t.left) == 0 {
		if err := t.next(); err != nil {
			return 0, err
		}
	}
	n := copy(p, t.left)
	t.left = t.left[n:]
	return n, nil
}

func (t *treeReader) next() error {
	if t.end {
		return io.EOF
	}
	if t.used > 0 {
		if err := t.s.credit(t.used); err != nil {
			return err
		}
	}
	frame, payload, err := t.s.in.Next()
	switch {
	case err != nil:
		return err
	case frame != wire.Tree:
		return errors.New("the host sent something else than the initrd")
	case len(payload) == 0:
		t.end = true
		return io.EOF
	}
	t.left, t.used = payload, len(payload)
	return nil
}
