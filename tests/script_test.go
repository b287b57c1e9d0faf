// Package tests runs ctbox as its users do: testscript files, real engines and readers we did not write.
package tests

import (
	"errors"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/ctbox/ctbox/applets"
)

func ctbox() { os.Exit(applets.Main(os.Args, os.Stdin, os.Stdout, os.Stderr)) }

func TestMain(m *testing.M) {
	commands := map[string]func(){"ctbox": ctbox}
	for _, name := range applets.Names() {
		commands[name] = ctbox
	}
	if strings.HasSuffix(os.Args[0], ".test") {
		syscall.Umask(0o022) // modes are compared, and other users run what is made here; when this is ctbox, it has what it was given
	}
	for _, sig := range []os.Signal{syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT} {
		// Of a test under nohup(1), or in the background of a script. What it starts would ignore it, too; but not when this is ctbox.
		if strings.HasSuffix(os.Args[0], ".test") && signal.Ignored(sig) {
			signal.Notify(make(chan os.Signal, 1), sig)
		}
	}
	testscript.Main(m, commands)
}

// TestScripts runs tests/APPLET/*.txtar for each applet of the table: an applet without scripts fails.
func TestScripts(t *testing.T) {
	for _, name := range append(applets.Names(), "box") {
		t.Run(name, func(t *testing.T) {
			testscript.Run(t, testscript.Params{
				Dir:                 filepath.Join(name),
				UpdateScripts:       os.Getenv("UPDATE") != "",
				RequireExplicitExec: true,
				RequireUniqueNames:  true,
				Setup: func(env *testscript.Env) error {
					// It becomes the guest's init, and must be static; or it is run by users who cannot come to this program.
					if name == "runkvm" || name == "runlocal" {
						env.Setenv("PATH", filepath.Dir(staticCtbox(t))+string(filepath.ListSeparator)+env.Getenv("PATH"))
					}
					return setup(env)
				},
				Cmds: map[string]func(*testscript.TestScript, bool, []string){
					"status": status, "requires": requires, "can": can, "mkelf": mkelf,
				},
			})
		})
	}
}

// setup takes what would change output out of the environment, and nothing else.
func setup(env *testscript.Env) error {
	env.Setenv("LC_ALL", "C")
	env.Setenv("SOURCE_DATE_EPOCH", "")
	env.Setenv("GORACE", os.Getenv("GORACE"))
	golden, err := filepath.Abs("golden")
	env.Setenv("GOLDEN", golden)
	env.Values[skipper{}] = env.T()
	return err
}

type skipper struct{}

// requires is "requires PROGRAM...": without them the script is skipped, or fails where CI=true.
// The condition [!exec:PROGRAM] would skip it there, too.
func requires(ts *testscript.TestScript, neg bool, args []string) {
	for _, name := range args {
		_, err := exec.LookPath(name)
		switch {
		case err != nil && os.Getenv("CI") == "true":
			ts.Fatalf("%v", err)
		case err != nil:
			ts.Value(skipper{}).(testscript.T).Skip(err)
		}
	}
}

// can is "can COMMAND [ARGUMENT]...": where that fails the script is skipped, or fails if CI=true. Without a command it
// asks for what a sandbox is made of.
func can(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) == 0 {
		args = makeNamespaces
	}
	switch err := ts.Exec(args[0], args[1:]...); {
	case neg:
		ts.Fatalf("usage: can [command [argument]...]")
	case err != nil && os.Getenv("CI") == "true":
		ts.Fatalf("%q: %v", args, err)
	case err != nil:
		ts.Value(skipper{}).(testscript.T).Skip(args, err)
	}
}

// status is "status N COMMAND [ARGUMENT]...": exec for a command that ends with status N.
func status(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: status N command [argument]...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	var exit *exec.ExitError
	switch err := ts.Exec(args[1], args[2:]...); {
	case errors.As(err, &exit):
		got = exit.ExitCode()
	case err != nil:
		ts.Fatalf("%v", err)
	}
	if got != want {
		ts.Fatalf("exit status %d, want %d", got, want)
	}
}
