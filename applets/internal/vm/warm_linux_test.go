package vm

import (
	"os"
	"testing"
)

// TestWarmWhere: a machine that cannot start warm says nothing about another, and without a cache nothing is kept for a next run.
func TestWarmWhere(t *testing.T) {
	r := &runner{
		Options: &Options{Warm: true}, cache: &Cache{t.TempDir()}, rdinit: os.Stdin, kernel: &KImage{ID: "k"},
		machine: Machine{Accel: "tcg", Arch: "x86_64", Append: "lockdown=integrity"},
	}
	r.cache.Remember(r.coldKey(), "no")
	if r.warm() {
		t.Error("tried again")
	}
	if r.machine.Append = ""; !r.warm() {
		t.Error("another machine is cold, too")
	}
	if r.cache = nil; r.warm() {
		t.Error("warm without a cache")
	}
}
