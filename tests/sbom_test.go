package tests

import (
	"debug/buildinfo"
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestModulesInBinary: what the linker says that it has put in, for go.mod says what could be.
func TestModulesInBinary(t *testing.T) {
	info, err := buildinfo.ReadFile(staticCtbox(t))
	check(t, err)
	var got []string
	for _, m := range info.Deps {
		if m.Replace != nil {
			t.Errorf("%s is replaced by %s", m.Path, m.Replace.Path)
		}
		got = append(got, m.Path)
	}
	if !slices.Equal(got, linkedModules) || info.Main.Path != module {
		t.Errorf("%s has %q, not %q", info.Main.Path, got, linkedModules)
	}
	for _, s := range info.Settings {
		if s.Key == "CGO_ENABLED" && s.Value != "0" {
			t.Error("it has C in it")
		}
	}
}

// A bom is what is of interest of a CycloneDX document.
type bom struct {
	Metadata struct {
		Component component
	}
	Components []component
}

type component struct {
	Name, Version, Purl string
	Licenses            []struct{ Expression string }
	Hashes              []struct{ Content string }
}

// TestSBOM: each module with its version and its terms, and nothing else but Go's own library; the same from any shell and directory.
func TestSBOM(t *testing.T) {
	requireTool(t, "sha256sum")
	program := staticCtbox(t)
	out, errs, err := try("", "../scripts/sbom", program)
	if err != nil {
		t.Fatalf("%v\n%s", err, errs)
	}
	var b bom
	check(t, json.Unmarshal([]byte(out), &b))
	mod, err := os.ReadFile("../go.mod")
	check(t, err)
	terms := regexp.MustCompile(`^(Apache-2\.0|MIT|0BSD|BSD-3-Clause)( AND (MIT|BSD-3-Clause))*$`)
	var names []string
	for _, c := range append(b.Components, b.Metadata.Component) {
		if len(c.Licenses) != 1 || !terms.MatchString(c.Licenses[0].Expression) {
			t.Errorf("%s: %v", c.Name, c.Licenses)
		}
	}
	for _, c := range b.Components {
		names = append(names, c.Name)
		if c.Name != "std" && !strings.Contains(string(mod), "\t"+c.Name+" "+c.Version+"\n") || c.Purl != "pkg:golang/"+c.Name+"@"+c.Version {
			t.Errorf("%+v is not of go.mod", c)
		}
	}
	if want := append(slices.Clone(linkedModules), "std"); !slices.Equal(names, want) {
		t.Errorf("%q, not %q", names, want)
	}
	sum, _, err := try("", "sha256sum", program)
	if main := b.Metadata.Component; err != nil || len(main.Hashes) != 1 || !strings.HasPrefix(sum, main.Hashes[0].Content+" ") {
		t.Errorf("%+v is not %s, %v", main, sum, err)
	}
	abs, err := os.Getwd()
	check(t, err)
	again, errs, err := try("", "sh", "-c", `cd / && VERSION=1.2.3 sh "$0/../scripts/sbom" "$1"`, abs, program)
	if want := strings.NewReplacer("(devel)", "1.2.3", module+`"`, module+`@v1.2.3"`).Replace(out); err != nil || again != want {
		t.Errorf("%v\n%s\n%s", err, errs, again)
	}
	if _, _, err := try("", "../scripts/sbom", "/bin/sh"); err == nil {
		t.Error("/bin/sh is made of something")
	}
}
