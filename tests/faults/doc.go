// Package faults has tests that break what is around ctbox, many times, and count: `scripts/torture` runs them.
// They have the build tag faults, since the whole takes hours.
package faults
