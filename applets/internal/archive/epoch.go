package archive

import (
	"errors"
	"fmt"
	"os"
	"strconv"
)

// Epoch is the time, in seconds since 1970, that everything made carries: SOURCE_DATE_EPOCH, or 0 when that
// is unset or empty. A value that is not a decimal number is an error
// (https://reproducible-builds.org/specs/source-date-epoch/), and so is one that the times in an image's config
// (RFC 3339) cannot say.
func Epoch() (seconds int64, set bool, err error) {
	s := os.Getenv("SOURCE_DATE_EPOCH")
	if s == "" {
		return 0, false, nil
	}
	n, err := strconv.ParseUint(s, 10, 63)
	if err != nil {
		return 0, false, fmt.Errorf("SOURCE_DATE_EPOCH: %q is not a number of seconds", s)
	}
	const lastSecond = 253402300799 // of the year 9999
	if n > lastSecond {
		return 0, false, errors.New("SOURCE_DATE_EPOCH: beyond the year 9999")
	}
	return int64(n), true, nil
}

// A TimeRule says which times of modification an archive's entries get.
type TimeRule int

// The rules of --mtime. Only with Fixed does an archive depend on its list alone.
const (
	Fixed TimeRule = iota // SOURCE_DATE_EPOCH, or 0
	Clamp                 // the file's own, but no later than SOURCE_DATE_EPOCH
	Keep                  // the file's own
)

// Times gives entries their times, in whole seconds, rounded down.
type Times struct {
	Rule  TimeRule
	Epoch int64
}

// NewTimes reads the environment; rule is "epoch", "clamp" or "keep".
func NewTimes(rule string) (Times, error) {
	epoch, set, err := Epoch()
	t := Times{Epoch: epoch}
	switch rule {
	case "clamp":
		t.Rule = Clamp
		if !set && err == nil {
			err = errors.New("--mtime=clamp needs SOURCE_DATE_EPOCH")
		}
	case "keep":
		t.Rule = Keep
	}
	return t, err
}

// of is the time for a file. Whatever is not on disk gets Epoch.
func (t Times) of(st *Stat) int64 {
	switch {
	case t.Rule == Fixed, t.Rule == Clamp && st.Sec > t.Epoch:
		return t.Epoch
	}
	return st.Sec
}
