//go:build !linux

package output

// tmpfile is no flag: what opens a directory to write fails then.
const tmpfile = 0

func exchange(a, b string) error { return swap(a, b) }
