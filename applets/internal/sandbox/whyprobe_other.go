//go:build !linux || !(amd64 || arm64)

package sandbox

import "github.com/ctbox/ctbox/applets/internal/program"

// gather knows nothing of systems on which no plan is carried out.
func gather() *evidence {
	no := func(string) bool { return false }
	return &evidence{dumpable: true, look: program.Look, nosuid: no, setcap: no}
}
