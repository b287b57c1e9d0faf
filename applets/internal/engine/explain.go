package engine

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"strings"

	"github.com/ctbox/ctbox/applets/internal/cli"
)

// A cure is what to do about an engine's message that has one of the words in it.
type cure struct {
	words []string
	hint  string
}

// cures are in the order of trial. The words are those of docker 20.10 to 29, podman 4 and containerd.
var cures = []cure{
	{[]string{"permission denied while trying to connect", "connect: permission denied"},
		"join the group docker, which is as good as root, or use rootless podman (--engine=podman)"},
	{[]string{"is too new. Maximum supported API"},
		"unset DOCKER_API_VERSION, or upgrade the daemon"},
	{[]string{"is too old. Minimum supported API"},
		"install a newer docker command, or unset DOCKER_API_VERSION"},
	{[]string{"context not found", "unable to resolve docker endpoint"},
		"check DOCKER_CONTEXT and DOCKER_HOST; \"docker context ls\" lists the contexts"},
	{[]string{"no space left on device"},
		"make room where the engine keeps its images, for example with \"docker system prune\""},
	{[]string{"does not contain a manifest.json", "/repositories: no such file", "/json: no such file",
		"does not match any of the supported image formats",
		"unrecognized image format", "invalid tar header", "missing in the tarball"},
		"not an image that this engine loads: rebuild it with ctbox mkimage"},
	{[]string{"RLIMIT_", "error setting rlimit"},
		"give containers limits that are not above your own: default_ulimits in containers.conf"},
	{[]string{"error during connect", "failed to connect to the docker API", "Cannot connect to Podman", "connection refused"},
		"check DOCKER_HOST, CONTAINER_HOST or the context"},
	{[]string{"No such image", "image not known"},
		"the engine has lost the image or its layers: remove it there, so that it is loaded again"},
}

// explain makes one line of what the engine said, and adds what to do about it.
func (e *Engine) explain(words string, err error) error {
	said := firstLine(words)
	if said == "" {
		said = err.Error()
	}
	told := fmt.Errorf("%s: %s", e.Name(), said)
	if strings.Contains(words, "Is the docker daemon running?") || strings.Contains(words, "if the daemon is running") {
		return cli.Hint(told, "%s", e.deadDaemon(said))
	}
	for _, c := range cures {
		for _, w := range c.words {
			if strings.Contains(words, w) {
				return cli.Hint(told, "%s", c.hint)
			}
		}
	}
	return told
}

// deadDaemon tells a socket that is not there from one on which nobody listens.
func (e *Engine) deadDaemon(said string) string {
	hint := "start the daemon, or set DOCKER_HOST"
	if _, rest, ok := strings.Cut(said, "unix://"); ok {
		socket, _, _ := strings.Cut(rest, " ")
		_, err := os.Stat(strings.TrimRight(socket, ".;"))
		if errors.Is(err, fs.ErrNotExist) {
			hint = "there is no such socket: " + hint
		} else if err == nil {
			hint = "the socket is stale, nobody listens: restart the daemon, or set DOCKER_HOST"
		}
	}
	if _, err := exec.LookPath("podman"); err == nil && e.Name() == "docker" {
		hint += "; or use --engine=podman"
	}
	return hint
}

// notRun is the error of a command that cannot be found or started; err may name it already.
func notRun(command string, err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		err = path.Err
	}
	return fmt.Errorf("%s: %w", command, err)
}

// noise is what engines put before the matter.
var noise = [...]string{
	"Error response from daemon: ", "Error: ", "Failed to initialize: ", "failed to create shim task: ",
	"failed to create task for container: ", "OCI runtime create failed: ", "OCI runtime error: ", "unable to start container process: ",
	"runc: ", "runc create failed: ", "crun: ",
}

// matter takes the noise from a line: also "unable to start container ID: " and "time=... level=... msg=".
func matter(line string) string {
	if _, msg, ok := strings.Cut(line, " msg="); ok && isLog(line) {
		line = strings.Trim(msg, `"`)
	}
	for again := true; again; {
		again = false
		for _, n := range noise {
			if rest, ok := strings.CutPrefix(line, n); ok {
				line, again = rest, true
			}
		}
		if id, rest, ok := strings.Cut(line, ": "); ok && strings.HasPrefix(id, "unable to start container ") {
			line, again = rest, true
		}
	}
	return line
}

// isLog tells the log lines of a client, which are warnings more often than the matter.
func isLog(line string) bool { return strings.HasPrefix(line, `time="`) }

// firstLine is the first line that says something, without what says nothing.
func firstLine(text string) string {
	var logged string
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if said := matter(line); !isLog(line) && said != "" {
			return said
		} else if logged == "" {
			logged = said
		}
	}
	return logged
}

// A start is a message about a command that could not be started; the command's name is between two of its words.
type start struct {
	before, after string
	status        int
	what, hint    string
}

const (
	absent    = "no such file in the image"
	noExec    = "cannot be executed: no such file or directory"
	noFile    = "name a command that the image has, or add it and rebuild the image"
	noInterp  = "its #! interpreter or dynamic loader is not in the image: copy it there, or link statically"
	denied    = "permission denied"
	noMode    = "it must be a file with execute permission in the list"
	badFormat = "exec format error"
	noFormat  = "not a program for this machine, or a script without a #! line"
)

// starts are messages of the runtimes before they handed over: runc, then crun.
var starts = [...]start{
	{`exec: "`, `": executable file not found`, cli.NotFound, absent, noFile},
	{`exec: "`, `": stat `, cli.NotFound, absent, noFile},
	{"executable file `", "` not found", cli.NotFound, absent, noFile},
	{`exec: "`, `": permission denied`, cli.CannotRun, denied, noMode},
	{`exec: "`, `": is a directory`, cli.CannotRun, "is a directory", noMode},
	{`exec: "`, `": exec format error`, cli.CannotRun, badFormat, noFormat},
	{"crun:", " open executable: Permission denied", cli.CannotRun, denied, noMode},
}

// lateStarts are all that a container says when execve itself failed: for the engine it has started then. The
// messages are those of runc since 1.1, of runc before that, and of crun.
var lateStarts = [...]start{
	{"standard_init_linux.go:", ": exec user process caused: no such file or directory", cli.NotFound, noExec, noInterp},
	{"standard_init_linux.go:", ": exec user process caused: exec format error", cli.CannotRun, badFormat, noFormat},
	{"exec ", ": no such file or directory", cli.NotFound, noExec, noInterp},
	{"exec ", ": exec format error", cli.CannotRun, badFormat, noFormat},
	{"exec ", ": permission denied", cli.CannotRun, denied, noMode},
	{`{"msg":"exec container process`, "`: No such file or directory\",", cli.NotFound, noExec, noInterp},
	{`{"msg":"exec container process`, "`: Exec format error\",", cli.CannotRun, badFormat, noFormat},
}

// match finds the message in text. The name that it quotes is the last word before after.
func match(table []start, text string) error {
	for _, s := range table {
		end := strings.Index(text, s.after)
		if end < 0 {
			continue
		}
		if i := strings.LastIndex(text[:end], s.before); i >= 0 {
			name := text[i+len(s.before) : end]
			if tick := strings.LastIndexByte(name, '`'); tick >= 0 {
				name = name[tick+1:]
			}
			if strings.Trim(name, "0123456789") == "" { // runc's own line number, or nothing
				name = "command"
			}
			return cli.WithStatus(s.status, cli.Hint(fmt.Errorf("%s: %s", name, s.what), "%s", s.hint))
		}
	}
	return nil
}

// refused is the error of a container that the engine did not start.
func (e *Engine) refused(text string) error {
	if err := match(starts[:], text); err != nil {
		return err
	}
	return e.explain(text, errors.New("the container did not start"))
}

// execFailed tells a runtime that could not execve the command from a command that said the same: the runtime says one
// line and exits with 1 (runc 1.1, crun) or 255 (runc since 1.2).
func execFailed(status int, words *relay) error {
	text := strings.TrimSuffix(words.peek(), "\n")
	if status != 1 && status != 255 || text == "" || strings.Contains(text, "\n") {
		return nil
	}
	if last := text[strings.LastIndexByte(text, ' ')+1:]; text[0] != '{' && last != "directory" && last != "error" && last != "denied" {
		return nil
	}
	err := match(lateStarts[:], text)
	if err != nil {
		words.take()
	}
	return err
}
