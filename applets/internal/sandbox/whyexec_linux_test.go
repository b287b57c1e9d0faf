//go:build linux && (amd64 || arm64)

package sandbox

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/ctbox/ctbox/applets/internal/cli"
)

type whyRunner struct{ err error }

func (c *whyRunner) Run(cli.Stdio) error { return c.err }

// whyReport is what a runner says and its exit status when it fails with err.
func whyReport(err error) (int, string) {
	var said bytes.Buffer
	a := &cli.Applet{
		Name: "runlocal", Brief: "fail", Example: "ctbox runlocal", Runner: true,
		New: func() cli.Command { return &whyRunner{err} },
	}
	return cli.Run(a, cli.Stdio{Out: &said, Err: &said}, nil), said.String()
}

// TestCannotStart: status and words for an init that is there, is not, or lacks something.
func TestCannotStart(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"init": "#!/bin/bash\n", "text": "echo\n", "crlf": "#!/bin/sh\r\n", "plain": "", "run": "#!/bin/run\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(os.Chmod(dir+"/plain", 0o644), os.Symlink("/usr/bin/id", dir+"/link")); err != nil {
		t.Fatal(err)
	}
	const prefix = "ctbox runlocal: "
	for _, c := range []struct {
		name   string
		errno  syscall.Errno
		status int
		said   string
	}{
		{"/init", syscall.ENOENT, 127, prefix + "/init: its interpreter /bin/bash is missing\n" +
			prefix + "hint: put the interpreter into the tree, or name one in the first line that is there\n"},
		{"/link", syscall.ENOENT, 127, prefix + "/link: symlink to /usr/bin/id, which is not there\n"},
		{"/absent", syscall.ENOENT, 127, prefix + "/absent: no such program\n"},
		{"absent", 0, 127, prefix + "absent: no such program in PATH\n"},
		{"/text", syscall.ENOEXEC, 126, prefix + "/text: text whose first line does not begin with \"#!\"\n" +
			prefix + "hint: begin a script with a line like \"#!/bin/sh\"\n"},
		{"/crlf", syscall.ENOENT, 126, prefix + "/crlf: the first line ends in a carriage return\n" +
			prefix + `hint: take the carriage returns out: sed -i 's/\r$//' FILE` + "\n"},
		{"/plain", syscall.EACCES, 126, prefix + "/plain: not executable (mode 0644)\n" +
			prefix + "hint: make it executable with chmod a+rx\n"},
		{"/bin", syscall.EACCES, 126, prefix + "/bin: is a directory\n"},
	} {
		status, said := whyReport(CannotStart(dir, c.name, "/bin", c.errno))
		if status != c.status || said != c.said {
			t.Errorf("%s: %d, %q; want %d, %q", c.name, status, said, c.status, c.said)
		}
	}
	// What CheckIn has nothing against: the kernel knows better, for example of an interpreter that is mounted elsewhere.
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Skip(err)
	}
	if err := os.WriteFile(dir+"/self", self, 0o755); err != nil {
		t.Fatal(err)
	}
	status, said := whyReport(CannotStart(dir, "/self", "", syscall.E2BIG))
	if status != 126 || said != prefix+"/self: argument list too long\n" {
		t.Logf("%d, %q", status, said) // a loader that is missing, where the test binary is not static
		if status != 127 {
			t.Error("neither that nor a missing loader")
		}
	}
}

// TestExplainHint: the two lines of a message, and the status of a runner's own failure.
func TestExplainHint(t *testing.T) {
	ev := whyFiles{"proc/sys/kernel/apparmor_restrict_unprivileged_userns": "1\n"}.made(t)
	ev.exe = "/opt/it's here/ctbox"
	status, said := whyReport(explainBy(Failure{"map user ids", "write", syscall.EPERM, ""}, ev))
	const want = "ctbox runlocal: map user ids: AppArmor takes the rights of user namespaces away (kernel.apparmor_restrict_unprivileged_userns is 1)\n" +
		`ctbox runlocal: hint: as root: echo 'abi <abi/4.0>, profile ctbox "/opt/it'\''s here/ctbox" flags=(unconfined) { userns, }' >/etc/apparmor.d/ctbox && apparmor_parser -r /etc/apparmor.d/ctbox; ` +
		"or for all programs: sysctl kernel.apparmor_restrict_unprivileged_userns=0\n"
	if status != 125 || said != want {
		t.Errorf("%d, %q; want %q", status, said, want)
	}
}
