package tests

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// pipe runs ctbox, or any program, and returns its standard output; a failure ends the test.
func pipe(t *testing.T, stdin string, args ...string) string {
	t.Helper()
	out, errs, err := try(stdin, args...)
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, errs)
	}
	return out
}

// randomTree fills dir with entries of all types that this user can make. Equal seeds make equal trees.
func randomTree(t *testing.T, dir string, entries int, seed uint64) {
	t.Helper()
	defer unix.Umask(unix.Umask(0))
	r := rand.New(rand.NewPCG(seed, 1))
	dirs, files := []string{dir}, []string{}
	for i := range entries {
		path := filepath.Join(dirs[r.IntN(len(dirs))], randomName(r, i))
		if len(path)-len(dir) > 3000 {
			continue
		}
		mode := uint32(r.IntN(0o10000))
		switch kind := r.IntN(12); {
		case kind < 3:
			check(t, os.Mkdir(path, 0o700))
			dirs = append(dirs, path)
		case kind < 4:
			target := strings.Repeat(randomName(r, i)+"/", 1+r.IntN(14)) + "x"
			check(t, os.Symlink(target, path))
			mode = 0
		case kind < 5 && len(files) > 0:
			check(t, os.Link(files[r.IntN(len(files))], path))
			mode = 0
		case kind < 6:
			check(t, unix.Mkfifo(path, 0o600))
		case kind < 8 && os.Geteuid() == 0:
			pipe(t, "", "mknod", path, []string{"b", "c"}[r.IntN(2)], fmt.Sprint(1+r.IntN(4095)), fmt.Sprint(r.IntN(1<<20)))
		default:
			check(t, os.WriteFile(path, randomBytes(r), 0o600))
			files = append(files, path)
		}
		decorate(t, r, path, mode)
	}
}

// randomName holds any bytes but "/", NUL and, so that all readers agree, newline and backslash.
func randomName(r *rand.Rand, i int) string {
	b := make([]byte, []int{1, 8, 40, 90, 110, 200}[r.IntN(6)])
	for j := range b {
		for b[j] = '/'; strings.IndexByte("/\x00\n\\", b[j]) >= 0; {
			b[j] = byte(1 + r.IntN(255))
		}
	}
	return fmt.Sprintf("%d%s%d", i%7, b, i)
}

func randomBytes(r *rand.Rand) []byte {
	b := make([]byte, []int{0, 1, 511, 512, 513, 10000, 70000}[r.IntN(7)])
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// decorate gives an entry a mode, an owner and attributes. The owner comes first: chown takes setuid away.
func decorate(t *testing.T, r *rand.Rand, path string, mode uint32) {
	t.Helper()
	if os.Geteuid() == 0 {
		owners := []int{0, 1000, 65534, 2097151, 2097152, 3000000}
		check(t, os.Lchown(path, owners[r.IntN(6)], owners[r.IntN(6)]))
	}
	if mode == 0 {
		return // a link: chmod would follow it
	}
	if os.Geteuid() != 0 {
		mode |= 0o700 // to look into it again
	}
	check(t, unix.Chmod(path, mode))
	fi, err := os.Lstat(path)
	check(t, err)
	if value := randomBytes(r); r.IntN(4) == 0 && len(value) > 0 && (fi.Mode().IsRegular() || fi.IsDir()) {
		err := unix.Lsetxattr(path, "user.some attr", value[:1], 0)
		if err != unix.ENOTSUP {
			check(t, err)
		}
	}
}
