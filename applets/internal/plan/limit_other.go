//go:build !linux || !(amd64 || arm64)

package plan

// DefaultLimits is empty: no plan is run here.
func DefaultLimits() []Rlimit { return nil }
