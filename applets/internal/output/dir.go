package output

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
)

// ReplaceDir calls fill with a new, empty directory beside path. When fill succeeds, everything in it is
// brought to disk and the directory is put at path in one step. What is there already must be an
// empty directory, or one that ours says may be replaced; it is removed afterwards. A symbolic link is followed.
func ReplaceDir(path string, ours func(dir string) bool, fill func(dir string) error) error {
	target, err := resolveDir(path)
	if err != nil {
		return err
	}
	if _, err := replaceable(target, ours); err != nil {
		return err
	}
	temp := make(chan string, 1)
	defer removeOnSignal(temp)()
	tmp, lock, err := createDir(target)
	if err != nil {
		return err
	}
	temp <- tmp
	defer lock.Close()
	defer os.RemoveAll(tmp) // after the exchange this is the old directory
	if err := fill(tmp); err != nil {
		return renamed(err, tmp, target)
	}
	if err := syncTree(tmp); err != nil {
		return renamed(err, tmp, target)
	}
	if err := put(tmp, target, ours); err != nil {
		return err
	}
	return syncDir(filepath.Dir(target))
}

// put gives tmp the name target. What is there is looked at once more: another writer may have been faster.
func put(tmp, target string, ours func(string) bool) error {
	for {
		old, err := replaceable(target, ours)
		switch {
		case err != nil:
			return err
		case old:
			return exchange(tmp, target)
		}
		if err := os.Rename(tmp, target); !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
}

// resolveDir is resolve for a name that may end with a slash.
func resolveDir(path string) (string, error) {
	path = filepath.Clean(path)
	fi, err := os.Lstat(path)
	if err == nil && fi.Mode()&fs.ModeSymlink != 0 {
		if to, err := filepath.EvalSymlinks(path); err == nil {
			return to, nil
		}
	}
	return resolve(path)
}

// replaceable reports whether there is an old directory to be exchanged.
func replaceable(path string, ours func(string) bool) (bool, error) {
	fi, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	case err != nil:
		return false, err
	case !fi.IsDir():
		return false, fmt.Errorf("%s: is in the way and not a directory", path)
	case ours(path):
		return true, nil
	}
	entries, err := os.ReadDir(path)
	if err == nil && len(entries) > 0 {
		err = fmt.Errorf("%s: is in the way, and not empty", path)
	}
	return err == nil, err
}

// createDir makes the temporary directory beside path and locks it, so that other writers know it is alive.
func createDir(path string) (tmp string, lock *os.File, err error) {
	sweep(path)
	for {
		tmp = filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+strconv.FormatInt(1e17+rand.Int64N(8e17), 10))
		if err := os.Mkdir(tmp, 0o777); err != nil {
			return "", nil, renamed(err, tmp, path)
		}
		lock, err = os.Open(tmp)
		if err == nil && claim(lock) {
			return tmp, lock, nil
		}
		lock.Close()
		os.Remove(tmp)
		if err != nil && !errors.Is(err, fs.ErrNotExist) { // else another writer swept it between its making and its lock
			return "", nil, renamed(err, tmp, path)
		}
	}
}

// syncTree brings all files and directories below dir to disk.
func syncTree(dir string) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			return syncDir(path)
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		return f.Sync()
	})
}

// swap is exchange in three steps, for systems that have no better: a kill between them leaves the old
// directory under a temporary name.
func swap(a, b string) error {
	side := a + "~"
	if err := os.Rename(b, side); err != nil {
		return err
	}
	if err := os.Rename(a, b); err != nil {
		return errors.Join(err, os.Rename(side, b))
	}
	return os.Rename(side, a)
}
