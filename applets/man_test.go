package applets

import (
	"bytes"
	"cmp"
	"os"
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

// eachManPage runs a test for each page there is.
func eachManPage(t *testing.T, test func(t *testing.T, name, page string)) {
	files, err := os.ReadDir("../man")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		t.Run(f.Name(), func(t *testing.T) { test(t, f.Name(), manPage(t, f.Name())) })
	}
}

// manSection is the mdoc of one section, without its heading; "" if the page has none.
func manSection(page, name string) string {
	_, text, _ := strings.Cut(page, "\n.Sh "+name+"\n")
	text, _, _ = strings.Cut(text, "\n.Sh ")
	return strings.TrimSuffix(text, "\n") + "\n"
}

// The manual says of each applet what its code says: the brief in NAME, the options of --help in OPTIONS, these and the operands
// in SYNOPSIS, and the statuses that its kind ends with in EXIT STATUS.
func TestManualOfApplets(t *testing.T) {
	for _, a := range table {
		t.Run(a.Name, func(t *testing.T) {
			page := manPage(t, "ctbox-"+a.Name+".1")
			if name := ".Sh NAME\n.Nm ctbox-" + a.Name + "\n.Nd " + a.Brief + "\n"; !strings.Contains(page, name) {
				t.Errorf("no %q", name)
			}
			usage, options := helpOf(t, a.Name)
			if got := manOptions(page); !slices.Equal(got, options) {
				t.Errorf("options:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(options, "\n"))
			}
			checkSynopsis(t, a, page, synopsis(a, page, usage))
			if got, want := manStatuses(page), statuses(a, options); got != want {
				t.Errorf("exit statuses %s, want %s", got, want)
			}
			for _, section := range []string{"DESCRIPTION", "EXAMPLES", "SEE ALSO"} {
				if strings.TrimSpace(manSection(page, section)) == "" {
					t.Errorf("no section %s", section)
				}
			}
		})
	}
}

// helpOf is what --help says of the operands, "BASE [NEW]", and of the options, "-o, --output=FILE", in its order.
func helpOf(t *testing.T, applet string) (usage string, options []string) {
	t.Helper()
	var out, errs bytes.Buffer
	if status := Main([]string{"ctbox", applet, "--help"}, nil, &out, &errs); status != cli.OK || errs.Len() > 0 {
		t.Fatal(status, errs.String())
	}
	head, text, _ := strings.Cut(out.String(), "\nOptions:\n")
	head, _, _ = strings.Cut(head, "\n")
	_, usage, _ = strings.Cut(head, " [OPTION]...")
	for _, m := range regexp.MustCompile(`(?m)^ {2}(?: {4})?(-[^\s,]+(?:, --\S+)?)`).FindAllStringSubmatch(text, -1) {
		options = append(options, m[1])
	}
	return strings.TrimSpace(usage), options
}

// manOptions are the items of an mdoc page's list of options, as --help spells them.
func manOptions(page string) []string {
	text, _, _ := strings.Cut(manSection(page, "OPTIONS"), "\n.Ss ")
	spelling := strings.NewReplacer("Fl Fl ", "--", "Fl ", "-", " , ", ", ", " Ns ", "", "Ar ", "", "Cm ", "")
	var all []string
	for line := range strings.Lines(text) {
		if item, ok := strings.CutPrefix(line, ".It Fl "); ok {
			all = append(all, spelling.Replace("Fl "+strings.TrimSpace(item)))
		}
	}
	return all
}

// synopsis is the section as it follows from the page's own OPTIONS, with their typography, and from the operands in usage:
// the switches that have letters as one group, then all others by their shortest spelling.
func synopsis(a *cli.Applet, page, usage string) string {
	var letters []string
	rest := ""
	repeated := repeatedOptions(a)
	for line := range strings.Lines(manSection(page, "OPTIONS")) {
		item, ok := strings.CutPrefix(strings.TrimSpace(line), ".It Fl ")
		if !ok || item == "h , Fl Fl help" || item == "Fl version" {
			continue
		}
		short, long, hasLetter := strings.Cut(item, " , Fl ")
		if !hasLetter {
			short, long = item, item
		}
		name, value, hasValue := strings.Cut(strings.TrimPrefix(long, "Fl "), " Ns = Ns ")
		switch {
		case hasLetter && !hasValue:
			letters = append(letters, short)
			continue
		case hasLetter:
			short += " " + value
		}
		if slices.Contains(repeated, name) {
			rest += ".Oo Fl " + short + " Oc Ns ...\n"
		} else {
			rest += ".Op Fl " + short + "\n"
		}
	}
	if slices.Sort(letters); len(letters) > 0 {
		rest = ".Op Fl " + strings.Join(letters, "") + "\n" + rest
	}
	for operand := range strings.FieldsSeq(usage) {
		macro := ".Ar "
		if strings.HasPrefix(operand, "[") {
			macro = ".Op Ar "
		}
		rest += macro + strings.NewReplacer("[", "", "]", "", "...", " ...").Replace(operand) + "\n"
	}
	return ".Nm ctbox\n.Bk -words\n.Cm " + a.Name + "\n" + rest + ".Ek\n"
}

// repeatedOptions are the long names of an applet's options that may be given several times and then all count.
func repeatedOptions(a *cli.Applet) (names []string) {
	for _, field := range reflect.VisibleFields(reflect.TypeOf(a.New()).Elem()) {
		if _, operand := field.Tag.Lookup("arg"); operand || field.Type.Kind() != reflect.Slice {
			continue
		}
		upper := regexp.MustCompile(`([a-z])([A-Z])`)
		names = append(names, strings.ToLower(upper.ReplaceAllString(field.Name, "$1-$2")))
	}
	return names
}

// checkSynopsis compares, and with UPDATE=1 writes, the section SYNOPSIS.
func checkSynopsis(t *testing.T, a *cli.Applet, page, want string) {
	t.Helper()
	got := manSection(page, "SYNOPSIS")
	if got == want {
		return
	}
	if os.Getenv("UPDATE") == "" {
		t.Errorf("UPDATE=1 sets this right: SYNOPSIS is\n%swant:\n%s", got, want)
		return
	}
	page = strings.Replace(page, "\n.Sh SYNOPSIS\n"+got, "\n.Sh SYNOPSIS\n"+want, 1)
	if err := os.WriteFile("../man/ctbox-"+a.Name+".1", []byte(page), 0o644); err != nil {
		t.Fatal(err)
	}
}

// manStatuses are the numbers that EXIT STATUS has, each once.
func manStatuses(page string) string {
	text := regexp.MustCompile(`(?m)^\.Bl .*`).ReplaceAllString(manSection(page, "EXIT STATUS"), "") // without widths of lists
	numbers := regexp.MustCompile(`\b\d+\b`).FindAllString(text, -1)
	slices.SortFunc(numbers, func(a, b string) int { return cmp.Or(len(a)-len(b), strings.Compare(a, b)) })
	return strings.Join(slices.Compact(numbers), " ")
}

// statuses are those that an applet can end with; a runner also ends with those of its command, and with 128+N.
func statuses(a *cli.Applet, options []string) string {
	switch {
	case !a.Runner:
		return "0 1 2"
	case slices.Contains(options, "--timeout=TIME"):
		return "124 125 126 127 128"
	}
	return "125 126 127 128"
}

// ctbox(1) has every applet with its brief, every option of ctbox itself, each way to call it, and all statuses.
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
	if got, want := boxSynopsis(page), boxUsage(); !slices.Equal(got, want) {
		t.Errorf("synopsis: %q, want %q", got, want)
	}
	if got, want := manStatuses(page), "0 1 2 124 125 126 127 128"; got != want {
		t.Errorf("exit statuses %s, want %s", got, want)
	}
	_, letters, _ := strings.Cut(page, "\nThe same letter means the same in every applet:\n")
	letters, _, _ = strings.Cut(letters, "\n.El\n")
	if got, want := manLetters(letters), allLetters(t); !slices.Equal(got, want) {
		t.Errorf("letters: %q, want %q", got, want)
	}
}

// manLetters are the options with letters of a list, "o output", in order.
func manLetters(text string) (all []string) {
	for _, m := range regexp.MustCompile(`(?m)^\.It Fl (.) , Fl Fl (\S+)`).FindAllStringSubmatch(text, -1) {
		all = append(all, m[1]+" "+m[2])
	}
	slices.Sort(all)
	return all
}

// allLetters are those of all applets.
func allLetters(t *testing.T) []string {
	t.Helper()
	all := []string{"h help"}
	for _, a := range table {
		options, err := cli.Options(a)
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range options {
			if o.Letter != "" && o.Name != "type" { // which is mkdisk's alone
				all = append(all, o.Letter+" "+o.Name)
			}
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// boxUsage are the ways to call ctbox that "ctbox --help" has.
func boxUsage() (all []string) {
	text, _, _ := strings.Cut(overview(), "\n\n")
	for _, form := range regexp.MustCompile(`\n|\|`).Split(text, -1) {
		form = strings.TrimSpace(form[strings.Index(form, ":")+1:])
		all = append(all, strings.TrimPrefix(form, "ctbox "))
	}
	slices.Sort(all)
	return all
}

// boxSynopsis are those of the manual.
func boxSynopsis(page string) (all []string) {
	for _, form := range strings.Split("\n"+manSection(page, "SYNOPSIS"), "\n.Nm\n")[1:] {
		var words []string
		for line := range strings.Lines(form) {
			line = strings.NewReplacer("Fl Fl ", "--", "Fl ", "-", "Ar ", "").Replace(strings.TrimSpace(line[1:]))
			if option, ok := strings.CutPrefix(line, "Op "); ok {
				line = strings.Replace("["+option+"]", " ...]", "]...", 1)
			}
			words = append(words, line)
		}
		all = append(all, strings.Join(words, " "))
	}
	slices.Sort(all)
	return all
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

// README.md says of each applet what its brief says, and perhaps more.
func TestReadmeOfApplets(t *testing.T) {
	text, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Count(string(text), "\n| `"); got != len(table) {
		t.Errorf("%d rows for %d applets", got, len(table))
	}
	for _, a := range table {
		rows := regexp.MustCompile(`(?m)^\| `+"`"+a.Name+"`"+` \| (.*) \|$`).FindAllStringSubmatch(string(text), -1)
		if len(rows) != 1 {
			t.Errorf("%s: %d rows", a.Name, len(rows))
			continue
		}
		if more, ok := strings.CutPrefix(rows[0][1], a.Brief); !ok || more != "" && !strings.ContainsAny(more[:1], ",:") {
			t.Errorf("%s: %q is not the brief %q and then perhaps a comma or colon and more", a.Name, rows[0][1], a.Brief)
		}
	}
}
