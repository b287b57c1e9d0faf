package applets

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/ctbox/ctbox/applets/internal/cli"
)

// manPage is the text of a page in man/.
func manPage(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "man", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// The manual says of each applet what its code says: the brief in NAME, and the options of --help in OPTIONS.
func TestManualOfApplets(t *testing.T) {
	for _, a := range table {
		t.Run(a.Name, func(t *testing.T) {
			page := manPage(t, "ctbox-"+a.Name+".1")
			if name := ".Sh NAME\n.Nm ctbox-" + a.Name + "\n.Nd " + a.Brief + "\n"; !strings.Contains(page, name) {
				t.Errorf("no %q", name)
			}
			if got, want := manOptions(page), helpOptions(t, a.Name); !slices.Equal(got, want) {
				t.Errorf("options:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
			for _, section := range []string{"SYNOPSIS", "DESCRIPTION", "OPTIONS", "EXIT STATUS", "EXAMPLES", "SEE ALSO"} {
				if !strings.Contains(page, "\n.Sh "+section+"\n") {
					t.Errorf("no section %s", section)
				}
			}
		})
	}
}

// helpOptions are the options in the text of --help, in its order: "-o, --output=FILE".
func helpOptions(t *testing.T, applet string) []string {
	t.Helper()
	var out, errs bytes.Buffer
	if status := Main([]string{"ctbox", applet, "--help"}, nil, &out, &errs); status != cli.OK || errs.Len() > 0 {
		t.Fatal(status, errs.String())
	}
	_, text, _ := strings.Cut(out.String(), "\nOptions:\n")
	var all []string
	for _, m := range regexp.MustCompile(`(?m)^ {2}(?: {4})?(-[^\s,]+(?:, --\S+)?)`).FindAllStringSubmatch(text, -1) {
		all = append(all, m[1])
	}
	return all
}

// manOptions are the items of an mdoc page's list of options, as --help spells them.
func manOptions(page string) []string {
	_, text, _ := strings.Cut(page, "\n.Sh OPTIONS\n")
	text, _, _ = strings.Cut(text, "\n.Sh ")
	text, _, _ = strings.Cut(text, "\n.Ss ")
	spelling := strings.NewReplacer("Fl Fl ", "--", "Fl ", "-", " , ", ", ", " Ns ", "", "Ar ", "", "Cm ", "")
	var all []string
	for line := range strings.Lines(text) {
		if item, ok := strings.CutPrefix(line, ".It Fl "); ok {
			all = append(all, spelling.Replace("Fl "+strings.TrimSpace(item)))
		}
	}
	return all
}

// ctbox(1) has every applet with its brief, and every option of ctbox itself.
func TestManualOfBox(t *testing.T) {
	page := manPage(t, "ctbox.1")
	var applets strings.Builder
	for _, a := range table {
		applets.WriteString(".It Xr ctbox-" + a.Name + " 1\n" + a.Brief + "\n")
	}
	for _, want := range []string{".Nm ctbox\n.Nd " + box.Brief + "\n", applets.String() + ".El\n"} {
		if !strings.Contains(page, want) {
			t.Errorf("no %q", want)
		}
	}
	var want []string
	for _, field := range reflect.VisibleFields(reflect.TypeFor[boxCommand]()) {
		if _, operand := field.Tag.Lookup("arg"); operand {
			continue
		}
		option := "--" + strings.ToLower(field.Name)
		if letter := field.Tag.Get("short"); letter != "" {
			option = "-" + letter + ", " + option
		}
		want = append(want, option)
	}
	want = append(want, "-h, --help", "--version")
	if got := manOptions(page); !slices.Equal(got, want) {
		t.Errorf("options: %q, want %q", got, want)
	}
}

// No page is there for an applet that is gone, or missing for the list format.
func TestManualPages(t *testing.T) {
	want := []string{"ctbox-list.5", "ctbox.1"}
	for _, name := range Names() {
		want = append(want, "ctbox-"+name+".1")
	}
	files, err := os.ReadDir("../man")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range files {
		got = append(got, f.Name())
	}
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("man/ holds %q, want %q", got, want)
	}
}

// References between the pages lead to pages.
func TestManualReferences(t *testing.T) {
	pages, err := filepath.Glob("../man/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range pages {
		page := manPage(t, filepath.Base(path))
		for _, m := range regexp.MustCompile(`(?m)^\.(?:It )?Xr (ctbox\S*) (\d)`).FindAllStringSubmatch(page, -1) {
			if _, err := os.Stat(filepath.Join("..", "man", m[1]+"."+m[2])); err != nil {
				t.Errorf("%s: %s(%s): %v", path, m[1], m[2], err)
			}
		}
	}
}

// mandoc finds nothing wrong with the pages. With CI=true it must be here.
func TestManualLint(t *testing.T) {
	mandoc, err := exec.LookPath("mandoc")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	pages, err := filepath.Glob("../man/*")
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(mandoc, append([]string{"-Tlint", "-W", "warning"}, pages...)...).CombinedOutput()
	if err != nil || len(out) > 0 {
		t.Errorf("%v\n%s", err, out)
	}
}
