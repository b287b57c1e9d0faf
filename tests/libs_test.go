package tests

import (
	"os"
	"path/filepath"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/ctbox/ctbox/tests/elftest"
)

// mkelf is "mkelf FILE [WORD]...": an ELF file of the words that elftest.Parse knows, and its directory.
func mkelf(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: mkelf file [word]...")
	}
	f, err := elftest.Parse(args[1:])
	ts.Check(err)
	path := ts.MkAbs(args[0])
	ts.Check(os.MkdirAll(filepath.Dir(path), 0o755))
	ts.Check(os.WriteFile(path, f.Bytes(), 0o755))
}
