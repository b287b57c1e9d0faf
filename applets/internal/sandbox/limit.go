package sandbox

import (
	"math"
	"strconv"
	"strings"

	"github.com/ctbox/ctbox/applets/internal/cli"
)

// Limits bound what one run may use. Zero is no limit.
type Limits struct {
	Memory int64   // bytes, of all its processes together
	Pids   int64   // processes and threads at one time
	CPU    float64 // processors: 1.5 is the time of one and a half
}

// ParseLimits reads the words of --limit, such as "mem=512M,pids=100" and "cpu=1.5". Of a limit given twice the last one counts.
// Errors are of usage.
func ParseLimits(words []string) (Limits, error) {
	var l Limits
	for _, word := range words {
		for part := range strings.SplitSeq(word, ",") {
			if err := l.parse(part); err != nil {
				return Limits{}, err
			}
		}
	}
	return l, nil
}

// What Linux can count: /proc/sys/kernel/pid_max goes no higher, and a quota in cpu.max is at least 1 ms of 100.
const (
	limitMostPids  = 1 << 22
	limitLeastCPU  = 0.01
	limitMostCPU   = 1 << 13
	limitCPUPeriod = 100_000 // microseconds, the kernel's default
)

func (l *Limits) parse(part string) error {
	name, value, _ := strings.Cut(part, "=")
	switch name {
	case "mem":
		var size cli.Size
		if err := size.UnmarshalText([]byte(value)); err != nil {
			return cli.Usagef("--limit %s: %v", part, err)
		}
		l.Memory = int64(size)
	case "pids":
		n, err := strconv.ParseInt(value, 10, 64)
		if err != nil || n < 1 || n > limitMostPids {
			return cli.Usagef("--limit %s: give a number of processes from 1 to %d", part, limitMostPids)
		}
		l.Pids = n
	case "cpu":
		n, err := strconv.ParseFloat(value, 64)
		if err != nil || math.IsNaN(n) || n < limitLeastCPU || n > limitMostCPU {
			return cli.Usagef("--limit %s: give a number of processors, such as 1.5; at least %v", part, limitLeastCPU)
		}
		l.CPU = n
	default:
		return cli.Usagef("--limit %s: there are mem=SIZE, pids=N and cpu=N", part)
	}
	return nil
}

// quota is how many microseconds of limitCPUPeriod the processors' time is.
func (l Limits) quota() int64 { return int64(math.Round(l.CPU * limitCPUPeriod)) }
