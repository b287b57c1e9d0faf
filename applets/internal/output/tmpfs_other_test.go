//go:build !linux

package output

import "testing"

func smallTmpfs(t *testing.T) string {
	t.Skip("no tmpfs")
	return ""
}
