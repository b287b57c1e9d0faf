package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Install makes one symbolic link for each name in dir, all to the running program. The link is relative
// when the program lies in dir itself. A name that is taken by anything else is an error unless force is
// set; the other links are made all the same.
func Install(dir string, names []string, force bool) error {
	target, err := linkTarget(dir)
	if err != nil {
		return err
	}
	var errs []error
	for _, name := range names {
		if err := link(target, filepath.Join(dir, name), force); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func linkTarget(dir string) (string, error) {
	exe, err := os.Executable()
	if err != nil {
		return "", err
	}
	if exe, err = filepath.EvalSymlinks(exe); err != nil {
		return "", err
	}
	real, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return "", err
	}
	if real, err = filepath.Abs(real); err != nil {
		return "", err
	}
	if filepath.Dir(exe) == real {
		return filepath.Base(exe), nil
	}
	return exe, nil
}

func link(target, path string, force bool) error {
	err := os.Symlink(target, path)
	if !errors.Is(err, fs.ErrExist) {
		return err
	}
	if old, _ := os.Readlink(path); old == target {
		return nil
	}
	if !force {
		return fmt.Errorf("%s: exists and is not ours (-f replaces it)", path)
	}
	tmp := path + ".ctbox-new"
	if err := os.Symlink(target, tmp); err != nil {
		return err
	}
	if err := os.Rename(tmp, path); err != nil {
		return errors.Join(err, os.Remove(tmp))
	}
	return nil
}
