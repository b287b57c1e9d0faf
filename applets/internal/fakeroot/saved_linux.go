package fakeroot

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/ctbox/ctbox/applets/internal/output"
)

// A loaded state is the save file as it was.
type loaded struct {
	file *os.File // nil if there is none
	text []byte
}

func (l *loaded) close() {
	if l.file != nil {
		l.file.Close()
	}
}

func (s *Session) load() (*loaded, error) {
	f, err := os.Open(s.State)
	if errors.Is(err, fs.ErrNotExist) {
		return &loaded{}, nil
	}
	if err != nil {
		return nil, err
	}
	var text bytes.Buffer
	if _, err = Parse(s.State, io.TeeReader(f, &text)); err != nil {
		f.Close()
		return nil, err
	}
	return &loaded{f, text.Bytes()}, nil
}

// writable finds out before the command has worked for an hour whether its state can be saved.
func (s *Session) writable(before *loaded) error {
	path := s.State
	if before.file != nil {
		if fi, err := before.file.Stat(); err != nil || !fi.Mode().IsRegular() {
			return err // what is written in place, such as /dev/null
		}
		if to, err := filepath.EvalSymlinks(path); err == nil {
			path = to
		}
	}
	if err := unix.Faccessat(unix.AT_FDCWD, filepath.Dir(path), unix.W_OK, unix.AT_EACCESS); err != nil {
		return fmt.Errorf("%s: cannot be written: %w", path, err)
	}
	return nil
}

// A saving is a pipe that the daemon saves to. With a file, fakeroot's script would wait for the daemon by itself, a
// tenth of a second at least, and for ever after a SIGINT, because it then asks a daemon that has ended.
type saving struct {
	w    *os.File
	text bytes.Buffer
	err  error
	done chan struct{}
}

func newSaved() (*saving, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	s := &saving{w: w, done: make(chan struct{})}
	go func() {
		defer close(s.done)
		defer r.Close()
		_, s.err = s.text.ReadFrom(r)
	}()
	return s, nil
}

// end returns what was saved. The daemon must have ended: until then our end of the pipe was what kept it open.
func (s *saving) end() ([]byte, error) {
	s.w.Close()
	<-s.done
	return s.text.Bytes(), s.err
}

// save puts what the daemon saved in place of the state.
func (s *Session) save(before *loaded, text []byte) error {
	if _, err := Parse("fakeroot's daemon", bytes.NewReader(text)); err != nil {
		return err
	}
	return s.replace(before, text)
}

// replace leaves a state that is the same, and its time of modification: make would rebuild what depends on it. But
// the inode is touched, because what changed before that is no reason to doubt the state.
func (s *Session) replace(before *loaded, text []byte) error {
	now, err := s.load()
	if err != nil {
		return err
	}
	defer now.close()
	if (now.file == nil) != (before.file == nil) || !bytes.Equal(now.text, before.text) {
		return errors.New("another command has written it meanwhile")
	}
	if now.file != nil && bytes.Equal(now.text, text) {
		if fi, err := now.file.Stat(); err == nil && now.file.Chmod(fi.Mode()) == nil {
			return nil
		}
	}
	return output.Target{Path: s.State}.Write(func(w io.Writer) error { _, err := w.Write(text); return err })
}
