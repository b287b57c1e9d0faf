package image

import (
	"strings"
	"testing"
)

func TestParseReference(t *testing.T) {
	long := func(n int) string { return strings.Repeat("a", n) }
	for in, want := range map[string]string{
		// What docker completes.
		"hello":                       "docker.io/library/hello:latest",
		"hello:1":                     "docker.io/library/hello:1",
		"me/hello":                    "docker.io/me/hello:latest",
		"library/hello":               "docker.io/library/hello:latest",
		"docker.io/hello":             "docker.io/library/hello:latest",
		"index.docker.io/hello:2":     "docker.io/library/hello:2",
		"docker.io/me/hello":          "docker.io/me/hello:latest",
		"localhost/hello":             "localhost/hello:latest",
		"localhost:5000/hello":        "localhost:5000/hello:latest",
		"registry.example.com/a/b/c":  "registry.example.com/a/b/c:latest",
		"registry:80/a":               "registry:80/a:latest",
		"Registry/a":                  "Registry/a:latest",
		"localhosts/a":                "docker.io/localhosts/a:latest",
		"127.0.0.1/a":                 "127.0.0.1/a:latest",
		"[2001:db8::1]:5000/a:x":      "[2001:db8::1]:5000/a:x",
		"[FE80::1]/a":                 "[FE80::1]/a:latest",
		"a.b-c.example:443/a":         "a.b-c.example:443/a:latest",
		"registry:5000":               "docker.io/library/registry:5000", // a tag: there is no path after it
		long(63):                      "docker.io/library/" + long(63) + ":latest",
		strings.Repeat("f", 63) + "g": "docker.io/library/" + strings.Repeat("f", 63) + "g:latest",
		// Separators.
		"a.b/c_d/e__f/g-h/i---j": "a.b/c_d/e__f/g-h/i---j:latest",
		// Tags.
		"a:V1.0-rc_2":            "docker.io/library/a:V1.0-rc_2",
		"a:_x":                   "docker.io/library/a:_x",
		"a:" + long(128):         "docker.io/library/a:" + long(128),
		long(237):                "docker.io/library/" + long(237) + ":latest", // 255 bytes with the domain
		"h.example/" + long(245): "h.example/" + long(245) + ":latest",
		// Refused.
		"":                                   "",
		"Foo":                                "",
		"foo/Bar":                            "",
		"a:b:c":                              "",
		"a:":                                 "",
		":a":                                 "",
		"a:-x":                               "",
		"a:.x":                               "",
		"a:x/y":                              "",
		"a:é":                                "",
		"a:" + long(129):                     "",
		long(238):                            "",
		"h.example/" + long(246):             "",
		"a@sha256:" + long(64):               "",
		"sha256:" + strings.Repeat("0", 64):  "docker.io/library/sha256:" + strings.Repeat("0", 64),
		strings.Repeat("0", 64):              "",
		strings.Repeat("0", 64) + ":t":       "docker.io/library/" + strings.Repeat("0", 64) + ":t",
		"/a":                                 "",
		"a/":                                 "",
		"a//b":                               "",
		"a b":                                "",
		"a\n":                                "",
		"-a":                                 "",
		"a-":                                 "",
		"_a":                                 "",
		"a.":                                 "",
		"a..b":                               "",
		"a___b":                              "",
		"a._b":                               "",
		"a-_b":                               "",
		"é":                                  "",
		"http://a/b":                         "",
		"-h.example/a":                       "",
		"h-.example/a":                       "",
		"h..example/a":                       "",
		".example/a":                         "",
		"h_h.example/a":                      "",
		"h.example:/a":                       "",
		"h.example:x/a":                      "",
		"[::1/a":                             "",
		"[]/a":                               "",
		"[::1]x/a":                           "",
		"[::g]/a":                            "",
		"[::\x11]/a":                         "",
		"[fe80::1%25eth0]:5000/a":            "",
		"user@host.example/a":                "",
		"docker.io/":                         "",
		"docker.io/library/":                 "",
		"\xff":                               "",
		"a:latest@sha256:" + long(64) + "":   "",
		"registry.example.com:5000/:x":       "",
		"registry.example.com/a:x\x00":       "",
		"registry.example.com/a/../b":        "",
		"registry.example.com/a/./b":         "",
		"h.example/a-/b":                     "",
		"h.example/" + long(200) + "/" + "B": "",
	} {
		ref, err := ParseReference(in)
		switch {
		case want == "" && err == nil:
			t.Errorf("%q: %s, want an error", in, ref)
		case want != "" && err != nil:
			t.Errorf("%q: %v", in, err)
		case want != "" && ref.String() != want:
			t.Errorf("%q: %s, want %s", in, ref, want)
		}
	}
}

func TestFamiliar(t *testing.T) {
	for in, want := range map[string]string{
		"hello:1":          "hello",
		"me/hello":         "me/hello",
		"h.example/hello":  "h.example/hello",
		"library/a/b":      "library/a/b",
		"localhost/x:tag1": "localhost/x",
		"docker.io/a.b/c":  "docker.io/a.b/c", // "a.b/c" would be of another registry
	} {
		ref, err := ParseReference(in)
		if err != nil || ref.Familiar() != want {
			t.Errorf("%q: %q, %v; want %q", in, ref.Familiar(), err, want)
		}
	}
}

// A name in full must mean itself, whatever it came from.
func FuzzParseReference(f *testing.F) {
	for _, s := range []string{"hello", "a.b/c:d", "[::1]:5/x", "localhost/x", "A/b", "a__b", "docker.io/x", "a:b:c"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		ref, err := ParseReference(s)
		if err != nil {
			return
		}
		again, err := ParseReference(ref.String())
		if err != nil || again != ref {
			t.Fatalf("%q is %s, which is %s, %v", s, ref, again, err)
		}
		short, err := ParseReference(ref.Familiar() + ":" + ref.Tag)
		if err != nil || short != ref {
			t.Fatalf("%q is %s, whose short form %q is %s, %v", s, ref, ref.Familiar(), short, err)
		}
		if len(ref.String()) > maxName+1+maxTag {
			t.Fatalf("%d bytes", len(ref.String()))
		}
	})
}
