// Package guest is the init of a guest: it takes a job from the host (package wire), makes the system ready, runs the
// program, hands on what it writes, and says how it ended.
//
// Invariants: the first process never ends except by switching the machine off; an End is sent after the last byte that any
// process of the guest wrote; up to the host's answer to the Hello nothing is settled that two runs must not share.
package guest
