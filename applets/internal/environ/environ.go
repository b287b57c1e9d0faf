// Package environ makes the environment of programs in containers: what is asked for, and nothing else of the caller's.
// It imports only what is initialised at once when a program starts (package plan says why).
package environ

import "syscall"

// New is PATH and HOME, as container engines set them, and what is asked for: VAR=VALUE, or VAR for its value here, if it has
// one. Of one name the last counts.
func New(asked ...string) []string {
	env := []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root"}
	for _, v := range asked {
		name := nameOf(v)
		kept := env[:0]
		for _, old := range env {
			if nameOf(old) != name {
				kept = append(kept, old)
			}
		}
		env = kept
		if value, here := syscall.Getenv(name); name != v {
			env = append(env, v)
		} else if here {
			env = append(env, name+"="+value)
		}
	}
	return env
}

// Lookup is the value of a variable in an environment, or "".
func Lookup(env []string, name string) string {
	for _, v := range env {
		if nameOf(v) == name && len(v) > len(name) {
			return v[len(name)+1:]
		}
	}
	return ""
}

// nameOf is what comes before the first "=", or all.
func nameOf(v string) string {
	for i := range len(v) {
		if v[i] == '=' {
			return v[:i]
		}
	}
	return v
}
