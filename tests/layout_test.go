package tests

import (
	"encoding/json"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/ctbox/ctbox"

// A listed is what "go list -json" says of a package that ctbox links.
type listed struct {
	ImportPath string
	Imports    []string
	Standard   bool
	Module     *struct{ Path string }
}

// linked lists the packages of the binary on one platform.
func linked(t *testing.T, platform string) map[string]listed {
	t.Helper()
	goos, goarch, _ := strings.Cut(platform, "/")
	cmd := exec.Command("go", "list", "-deps", "-json=ImportPath,Imports,Standard,Module", "../cmd/ctbox")
	cmd.Env = append(cmd.Environ(), "CGO_ENABLED=0", "GOOS="+goos, "GOARCH="+goarch)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	all := map[string]listed{}
	for dec := json.NewDecoder(out); ; {
		var p listed
		if err := dec.Decode(&p); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		all[p.ImportPath] = p
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	return all
}

// importers lists who imports the packages that match, themselves apart.
func importers(all map[string]listed, match func(string) bool) []string {
	var found []string
	for path, p := range all {
		if !match(path) && slices.ContainsFunc(p.Imports, match) {
			found = append(found, path)
		}
	}
	slices.Sort(found)
	return found
}

func is(path string) func(string) bool { return func(p string) bool { return p == path } }

// within matches a package or module and all below it.
func within(root string) func(string) bool {
	return func(path string) bool { return path == root || strings.HasPrefix(path, root+"/") }
}

var platforms = []string{"linux/amd64", "darwin/arm64", "freebsd/amd64"}

// Each outside module has one door.
func TestOneImporter(t *testing.T) {
	doors := map[string]string{
		"github.com/alecthomas/kong":     module + "/applets/internal/cli",
		"github.com/google/renameio":     module + "/applets/internal/output",
		"github.com/klauspost/compress":  module + "/applets/internal/compress",
		"github.com/mikelolasagasti/xz":  module + "/applets/internal/compress",
		"github.com/cavaliergopher/cpio": module + "/applets/internal/archive",
		module + "/applets":              module + "/cmd/ctbox",
	}
	for _, platform := range platforms {
		all := linked(t, platform)
		for root, door := range doors {
			match := within(root)
			if root == module+"/applets" {
				match = is(root)
			}
			for _, who := range importers(all, match) {
				if who != door {
					t.Errorf("%s: %s imports %s; only %s may", platform, who, root, door)
				}
			}
		}
	}
}

// linkedModules may be in the binary, and are. What enters it must earn it: a module stands for more than 300 lines that we should not write.
var linkedModules = []string{
	"github.com/alecthomas/kong",
	"github.com/cavaliergopher/cpio",
	"github.com/google/renameio/v2",
	"github.com/klauspost/compress",
	"github.com/mikelolasagasti/xz",
	"golang.org/x/sys",
}

func TestLinkedModules(t *testing.T) {
	allowed := append([]string{module}, linkedModules...)
	for _, platform := range platforms {
		modules := map[string]bool{}
		for _, p := range linked(t, platform) {
			if p.Module != nil {
				modules[p.Module.Path] = true
			}
		}
		for _, path := range slices.Sorted(maps.Keys(modules)) {
			if !slices.Contains(allowed, path) {
				t.Errorf("%s: %s is linked; imported by %q", platform, path,
					importers(linked(t, platform), within(path)))
			}
		}
		if !modules[module] {
			t.Errorf("%s: %s itself is not there: %v", platform, module, modules)
		}
	}
}

// These cost megabytes and start-up time, or need a C library.
func TestPackagesNotLinked(t *testing.T) {
	for _, platform := range platforms {
		all := linked(t, platform)
		for _, path := range []string{"net/http", "text/template", "html/template", "plugin", "runtime/cgo"} {
			if _, ok := all[path]; ok {
				t.Errorf("%s: %s is linked; imported by %q", platform, path, importers(all, is(path)))
			}
		}
	}
}

// archive/tar and modules import these, so they are there; but messages go through internal/cli, and the
// names of users depend on the machine.
func TestPackagesNotImported(t *testing.T) {
	for _, platform := range platforms {
		all := linked(t, platform)
		for _, path := range []string{"log", "log/slog", "os/user"} {
			for _, who := range importers(all, is(path)) {
				if within(module)(who) {
					t.Errorf("%s: %s imports %s", platform, who, path)
				}
			}
		}
	}
}

// No result holds a time but those that were given: what makes results has no clock to ask (G34).
func TestNoClock(t *testing.T) {
	results := []string{"*.go", "internal/archive/*.go", "internal/compress/*.go", "internal/image/*.go", "internal/list/*.go", "internal/output/*.go", "internal/sums/*.go"}
	clock := regexp.MustCompile(`time\.(Now|Since|Until)\b|[cC]lock_?[gG]ettime|Gettimeofday|unix\.Time\(`)
	seen := 0
	for _, pattern := range results {
		files, err := filepath.Glob("../applets/" + pattern)
		check(t, err)
		for _, path := range files {
			// One asks whether a file system's times can be relied on, which no result shows.
			if strings.HasSuffix(path, "_test.go") || strings.HasPrefix(filepath.Base(path), "volume_") {
				continue
			}
			text, err := os.ReadFile(path)
			check(t, err)
			if found := clock.Find(text); found != nil {
				t.Errorf("%s uses %s", path, found)
			}
			seen++
		}
	}
	if seen < 50 {
		t.Errorf("only %d files", seen)
	}
}
