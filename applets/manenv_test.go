package applets

import (
	"go/ast"
	"path"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// readElsewhere are variables in pages that the applet's own code does not read.
var readElsewhere = map[string][]string{
	"rundocker": {"CONTAINER_HOST", "DOCKER_CONTEXT", "DOCKER_HOST"}, // the engine's command does
	"runlocal":  {"SOURCE_DATE_EPOCH", "TMPDIR"},                     // runlocal-changes does, which it runs
}

// ENVIRONMENT in each page has the variables that the code of the applet reads or sets, and no others; that of ctbox(1) has them all.
func TestManualOfEnvironment(t *testing.T) {
	code := readSource(t)
	var all []string
	for _, a := range table {
		want := code.environment("applets." + reflect.TypeOf(a.New()).Elem().Name())
		want = append(want, readElsewhere[a.Name]...)
		slices.Sort(want)
		if got := manEnvironment(manPage(t, "ctbox-"+a.Name+".1")); !slices.Equal(got, slices.Compact(want)) {
			t.Errorf("%s: ENVIRONMENT has %q, want %q", a.Name, got, want)
		}
		all = append(all, want...)
	}
	slices.Sort(all)
	if got := manEnvironment(manPage(t, "ctbox.1")); !slices.Equal(got, slices.Compact(all)) {
		t.Errorf("ctbox: ENVIRONMENT has %q, want %q", got, slices.Compact(all))
	}
}

// manEnvironment are the names of the variables that ENVIRONMENT has items for, in order.
func manEnvironment(page string) (names []string) {
	for _, item := range regexp.MustCompile(`(?m)^\.It Ev (.*)`).FindAllStringSubmatch(manSection(page, "ENVIRONMENT"), -1) {
		names = append(names, regexp.MustCompile(`\w+`).FindAllString(item[1], -1)...)
	}
	slices.Sort(names)
	return names
}

// A source is every declaration outside of functions by "package.Name", and every method by "package.Type.Name".
type source map[string]*declaration

// A declaration is what one may do: read the environment, and mention others.
type declaration struct {
	reads     []string // variables of the environment, quoted, or keys of constants; also those that are set
	mentions  []string // keys
	selectors []string // names of fields and methods, of whatever type
	text      string   // of a constant, quoted
}

// readSource reads the declarations. It knows no types: a name that means one thing here and
// another there means both.
func readSource(t *testing.T) source {
	t.Helper()
	all := source{}
	eachSource(t, func(file *ast.File) {
		for _, d := range file.Decls {
			all.declare(file.Name.Name, d)
		}
	})
	return all
}

// declare adds a declaration, or several in brackets.
func (s source) declare(pkg string, d ast.Decl) {
	switch d := d.(type) {
	case *ast.FuncDecl:
		name := d.Name.Name
		if d.Recv != nil {
			name = strings.TrimPrefix(exprKey("", d.Recv.List[0].Type), ".") + "." + name
		}
		s.at(pkg+"."+name).read(pkg, d)
	case *ast.GenDecl:
		for _, spec := range d.Specs {
			switch spec := spec.(type) {
			case *ast.TypeSpec:
				s.at(pkg+"."+spec.Name.Name).read(pkg, spec.Type)
			case *ast.ValueSpec:
				for i, name := range spec.Names {
					at := s.at(pkg + "." + name.Name)
					at.read(pkg, spec)
					if i < len(spec.Values) {
						if text, ok := spec.Values[i].(*ast.BasicLit); ok {
							at.text = text.Value
						}
					}
				}
			}
		}
	}
}

// at is the declaration of that name. Different systems have different ones, which become one.
func (s source) at(key string) *declaration {
	if s[key] == nil {
		s[key] = new(declaration)
	}
	return s[key]
}

// exprKey is the key of what e names, from within a package; "" if it is no name.
func exprKey(pkg string, e ast.Expr) string {
	switch e := e.(type) {
	case *ast.StarExpr:
		return exprKey(pkg, e.X)
	case *ast.IndexExpr:
		return exprKey(pkg, e.X)
	case *ast.Ident:
		return pkg + "." + e.Name
	case *ast.SelectorExpr:
		if x, ok := e.X.(*ast.Ident); ok {
			return x.Name + "." + e.Sel.Name
		}
	}
	return ""
}

// read notes what the code of a declaration mentions, but for names of fields, which are declared there or belong to something else.
func (d *declaration) read(pkg string, node ast.Node) {
	ast.Inspect(node, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.Ident:
			d.mentions = append(d.mentions, pkg+"."+n.Name)
		case *ast.SelectorExpr:
			d.mentions = append(d.mentions, exprKey(pkg, n))
			d.selectors = append(d.selectors, n.Sel.Name)
			d.read(pkg, n.X)
			return false
		case *ast.KeyValueExpr:
			d.read(pkg, n.Value)
			return false
		case *ast.Field:
			d.read(pkg, n.Type)
			return false
		case *ast.CallExpr:
			d.call(pkg, n)
		}
		return true
	})
}

// call notes what a function of Go's library reads.
func (d *declaration) call(pkg string, c *ast.CallExpr) {
	switch exprKey(pkg, c.Fun) {
	case "os.Getenv", "os.LookupEnv", "os.Setenv", "syscall.Getenv":
		if text, ok := c.Args[0].(*ast.BasicLit); ok {
			d.reads = append(d.reads, text.Value)
		} else {
			d.reads = append(d.reads, exprKey(pkg, c.Args[0]))
		}
	case "os.CreateTemp", "os.MkdirTemp":
		if text, ok := c.Args[0].(*ast.BasicLit); ok && text.Value == `""` {
			d.reads = append(d.reads, `"TMPDIR"`)
		}
	case "os.TempDir":
		d.reads = append(d.reads, `"TMPDIR"`)
	case "exec.LookPath":
		d.reads = append(d.reads, `"PATH"`)
	case "os.UserHomeDir", "os.UserCacheDir", "os.UserConfigDir":
		d.reads = append(d.reads, `"HOME"`, `"XDG_CACHE_HOME"`, `"XDG_CONFIG_HOME"`)
	}
}

// environment are the variables that what can be reached from root reads. A method can be reached when its type is and
// its name is mentioned somewhere, as one that an interface calls may have been.
func (s source) environment(root string) (names []string) {
	reached := map[string]bool{}
	selectors := map[string]bool{"Run": true}
	var visit func(key string)
	visit = func(key string) {
		d := s[key]
		if d == nil || reached[key] || key == "applets.lookup" { // need asks it for names
			return
		}
		reached[key] = true
		for _, name := range d.selectors {
			selectors[name] = true
		}
		for _, name := range d.reads {
			if constant := s[name]; constant != nil {
				name = constant.text
			}
			if text, err := strconv.Unquote(name); err == nil { // else it is one that the user names
				names = append(names, text)
			}
		}
		for _, key := range d.mentions {
			visit(key)
		}
	}
	visit(root)
	for before := 0; before < len(reached); {
		before = len(reached)
		for key := range s {
			of, method := key[:strings.LastIndexByte(key, '.')], path.Ext(key)[1:]
			if reached[of] && selectors[method] {
				visit(key)
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}
