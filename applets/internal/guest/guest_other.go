//go:build !linux

package guest

import "os"

// Main is the first process of a guest, which is Linux.
func Main() { os.Exit(125) }
