package cli

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// A Size is an option's amount of memory in bytes: a number with the unit K, M, G or T (powers of 1024), or without one in
// MiB, as qemu's -m has it ("512M", "2G", "512"). It is greater than zero.
type Size int64

// UnmarshalText reads a Size from the command line.
func (s *Size) UnmarshalText(text []byte) error {
	const units = "KMGT"
	digits, shift := strings.ToUpper(string(text)), 20
	if i := strings.LastIndexAny(digits, units); i >= 0 && i == len(digits)-1 {
		shift = 10 * (1 + strings.IndexByte(units, digits[i]))
		digits = digits[:i]
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || n <= 0 || n > math.MaxInt64>>shift {
		return fmt.Errorf("%q is not a size: give a number with a unit, as in 512M or 2G", text)
	}
	*s = Size(n << shift)
	return nil
}
