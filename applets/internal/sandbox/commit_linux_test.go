//go:build linux && (amd64 || arm64)

package sandbox

import (
	"strings"
	"testing"
)

func TestCommitArgs(t *testing.T) {
	for _, c := range []struct {
		commit
		want string
	}{
		{commit{5, 6, 7, 8, []string{"/dev", "/a b/", "//c"}},
			"--skip=./dev --skip=./a b --skip=./c --layer=/proc/self/fd/7 --changes=/proc/self/fd/8 /proc/self/fd/5 /proc/self/fd/6"},
		{commit{5, 6, 7, -1, nil}, "--layer=/proc/self/fd/7 -0 /proc/self/fd/5 /proc/self/fd/6"},
		{commit{5, 6, -1, 0, nil}, "--changes=/proc/self/fd/0 /proc/self/fd/5 /proc/self/fd/6"},
	} {
		if got := strings.Join(c.args(), " "); got != "ctbox runlocal-changes "+c.want {
			t.Errorf("%s", got)
		}
	}
}
