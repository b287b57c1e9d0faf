package overlay

import (
	"errors"
	"io"
	"io/fs"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/ctbox/ctbox/applets/internal/archive"
	"github.com/ctbox/ctbox/applets/internal/list"
)

// merged is the mounted tree, for names that it shows: what the upper directory lacks is in the lower one.
type merged struct{ up, low *archive.Dir }

func (m *merged) of(name []byte) (*archive.Dir, archive.Stat, error) {
	st, err := m.up.Stat(name)
	if !errors.Is(err, fs.ErrNotExist) {
		return m.up, st, err
	}
	st, err = m.low.Stat(name)
	return m.low, st, err
}

func (m *merged) Stat(name []byte) (archive.Stat, error) {
	_, st, err := m.of(name)
	return st, err
}

func (m *merged) Readlink(name []byte) ([]byte, error) {
	d, _, err := m.of(name)
	if err != nil {
		return nil, err
	}
	return d.Readlink(name)
}

func (m *merged) Open(name []byte, st archive.Stat) (archive.Content, error) {
	d, _, err := m.of(name)
	if err != nil {
		return nil, err
	}
	return d.Open(name, st)
}

func (m *merged) Xattrs(name []byte) ([]archive.Xattr, error) {
	d, _, err := m.of(name)
	if err != nil {
		return nil, err
	}
	return d.Xattrs(name)
}

func (m *merged) Close() error { return errors.Join(m.up.Close(), m.low.Close()) }

// before is the lower directory, for a list that is only compared with that of the mounted tree: what is seen to
// differ is not read but gets a made-up ID that differs too. That saves time, and the owner may have let nobody read
// what was replaced or deleted.
type before struct {
	merged
	members []string
}

// unread is the time of modification of what has a made-up ID, in nanoseconds: no file has it.
const unread = -1

func (b *before) Stat(name []byte) (archive.Stat, error) {
	st, err := b.low.Stat(name)
	if err != nil {
		return st, err
	}
	now, same, err := b.same(name, &st)
	if err == nil && !same {
		st.Mode = st.Type() | (now.Mode^1)&list.PermMask
		st.Size, st.Nsec = 0, unread
	}
	return st, err
}

// same compares what stat(2) says with what it says of the mounted tree.
func (b *before) same(name []byte, st *archive.Stat) (now archive.Stat, same bool, err error) {
	now, err = b.up.Stat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, unix.ENOTDIR), errors.Is(err, archive.ErrSymlink):
		_, shown := slices.BinarySearch(b.members, string(name))
		return *st, shown, nil
	case err != nil:
		return now, false, err
	}
	same = now.Mode == st.Mode && now.UID == st.UID && now.GID == st.GID && now.Major == st.Major && now.Minor == st.Minor
	if t := st.Type(); t == list.Regular || t == list.Symlink {
		same = same && now.Size == st.Size
	}
	return now, same, nil
}

func (b *before) Readlink(name []byte) ([]byte, error) { return b.low.Readlink(name) }

func (b *before) Open(name []byte, st archive.Stat) (archive.Content, error) {
	if st.Nsec == unread {
		return nothing{}, nil
	}
	return b.low.Open(name, st)
}

func (b *before) Xattrs(name []byte) ([]archive.Xattr, error) {
	if st, err := b.Stat(name); err != nil || st.Nsec == unread {
		return nil, err
	}
	return b.low.Xattrs(name)
}

// nothing is the content of what is not read.
type nothing struct{}

func (nothing) Read([]byte) (int, error)         { return 0, io.EOF }
func (nothing) Unchanged() error                 { return nil }
func (nothing) Xattrs() ([]archive.Xattr, error) { return nil, nil }
func (nothing) Close() error                     { return nil }
