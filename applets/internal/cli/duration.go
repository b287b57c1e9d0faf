package cli

import (
	"fmt"
	"strconv"
	"time"
)

// A Duration is an option's span of time: seconds, as timeout(1) has them, or Go's notation ("90", "1.5", "2m30s").
// It is greater than zero.
type Duration time.Duration

// UnmarshalText reads a Duration from the command line.
func (d *Duration) UnmarshalText(text []byte) error {
	span, err := time.ParseDuration(string(text))
	if seconds, notSeconds := strconv.ParseFloat(string(text), 64); notSeconds == nil {
		span, err = time.Duration(seconds*float64(time.Second)), nil
	}
	if err != nil || span <= 0 {
		return fmt.Errorf("%q is not a time: give seconds, or a number with a unit as in 2m30s", text)
	}
	*d = Duration(span)
	return nil
}
