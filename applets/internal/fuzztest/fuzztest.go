// Package fuzztest is for fuzz targets: that a parser does not panic is the least of what is asked of it.
package fuzztest

import (
	"runtime/metrics"
	"testing"
	"time"
)

// patience is far beyond what any input of a fuzz target may take, on a slow machine with the race detector.
const patience = 30 * time.Second

// others is what the rest of the process may allocate meanwhile, in bytes: the fuzzer itself, for one.
const others = 1 << 20

// Bounded calls read, which has n bytes of input, and fails unless it ends in time and allocates no more than fixed bytes and
// perByte for each of the input, all garbage counted.
func Bounded(t testing.TB, n int, fixed, perByte uint64, read func()) {
	t.Helper()
	begin, before := time.Now(), allocated()
	read()
	if used, most := allocated()-before, fixed+perByte*uint64(n)+others; used > most {
		t.Errorf("%d bytes of input took %d bytes of memory, more than %d", n, used, most)
	}
	if took := time.Since(begin); took > patience {
		t.Errorf("%d bytes of input took %v", n, took)
	}
}

func allocated() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}
