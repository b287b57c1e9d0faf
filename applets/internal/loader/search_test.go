package loader

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ctbox/ctbox/applets/internal/archive"
	"github.com/ctbox/ctbox/tests/elftest"
)

func TestParseCache(t *testing.T) {
	entries := [][2]string{
		{"liba.so", "/fast/liba.so+"}, {"liba.so", "/a/liba.so"}, {"liba.so", "/b/liba.so"}, {"libb.so", "/b/libb.so"},
	}
	for i := range 2000 { // so that the number of entries in the wrong byte order is too large
		entries = append(entries, [2]string{fmt.Sprint("lib", i, ".so"), fmt.Sprint("/many/lib", i, ".so")})
	}
	for _, big := range []bool{false, true} {
		for _, unmarked := range []bool{false, true} {
			for _, old := range []bool{false, true} {
				c := elftest.Cache{Big: big, Unmarked: unmarked, Old: old, Entries: entries, HWCap: 1 << 62}
				got := parseCache(c.Bytes())
				if !slices.Equal(got["liba.so"], []string{"/a/liba.so", "/b/liba.so"}) || len(got) != 2002 {
					t.Errorf("%v %v %v: %d, %q", big, unmarked, old, len(got), got["liba.so"])
				}
				c.HWCap = hwcapTLS
				if got := parseCache(c.Bytes())["liba.so"]; len(got) != 3 || got[0] != "/fast/liba.so" {
					t.Errorf("%v %v %v: %q", big, unmarked, old, got)
				}
			}
		}
	}
}

// A cache that is cut off, or of another format, is none, or has what is still there.
func TestDamagedCache(t *testing.T) {
	whole := elftest.Cache{Entries: [][2]string{{"liba.so", "/a/liba.so"}, {"libb.so", "/b/libb.so"}}}.Bytes()
	entriesEnd := len(whole) - len("liba.so\x00/a/liba.so\x00libb.so\x00/b/libb.so\x00")
	for n := range len(whole) {
		got := parseCache(whole[:n])
		if (got == nil) != (n < entriesEnd) {
			t.Errorf("%d bytes: %q", n, got)
		}
		delete(got, "")
		for name, paths := range got {
			if name != "liba.so" && name != "libb.so" || len(paths) != 1 || n < len(whole) && paths[0] == "/b/libb.so" {
				t.Errorf("%d bytes: %q: %q", n, name, paths)
			}
		}
	}
	for _, text := range []string{"", "ld.so-1.7.0\x00", strings.Repeat("x", 100), string(whole[:20]) + strings.Repeat("\xff", 200)} {
		if got := parseCache([]byte(text)); got != nil {
			t.Errorf("%q: %q", text, got)
		}
	}
}

// Where there is no cache that can be read, ld.so.conf says what would be in it.
func TestConf(t *testing.T) {
	needs := []string{"liba.so", "libb.so", "libc.so", "libd.so", "libe.so", "libf.so"}
	root := fixture{
		"x":                       elftest.File{Needed: append(needs, "libhidden.so", "libcomment.so")},
		"etc/ld.so.cache":         "some other format",
		"etc/ld.so.conf":          "# libraries\n\n include ld.so.conf.d/*.conf /etc/more none/*.conf\n/opt/f # and g\n/comment#\nhwcap 0 nosegneg\ninclude\n",
		"etc/ld.so.conf.d":        "->conf.d",
		"etc/conf.d/10-a.conf":    "/opt/a\n/opt/b=libc6\n",
		"etc/conf.d/20-c.conf":    "\t/opt/c/ \r\ninclude 20-c.conf\ninclude ../ld.so.conf",
		"etc/conf.d/.h.conf":      "/opt/hidden\n",
		"etc/conf.d/d.config":     "/opt/hidden\n",
		"etc/conf.d/z.conf/any":   "",
		"etc/more":                "include conf.d/[0-9]?-a.conf\n/opt/d\n/opt/e",
		"opt/hidden/libhidden.so": elftest.File{},
		"comment#/libcomment.so":  elftest.File{},
		"lib/libf.so":             elftest.File{},
	}
	var want []string
	for _, need := range needs {
		dir := "/opt/" + strings.TrimSuffix(strings.TrimPrefix(need, "lib"), ".so")
		root[dir[1:]+"/"+need] = elftest.File{}
		want = append(want, dir+"/"+need)
	}
	want = append(want, "!x: libhidden.so: not found", "!x: libcomment.so: not found")
	find(t, root.make(t), "x").expect(t, want...)
}

// However often a hostile tree includes whatever: to list a directory takes time, and there is an end to it.
func TestConfBounded(t *testing.T) {
	conf := func(patterns int) []string {
		var text strings.Builder
		for i := range patterns {
			fmt.Fprintf(&text, "include none%d/*\n", i)
		}
		root := fixture{"etc/ld.so.conf": text.String() + "include last\n", "etc/last": "/opt\n"}
		d, err := archive.OpenDir(root.make(t))
		if err != nil {
			t.Fatal(err)
		}
		return readConf(&tree{dir: d})
	}
	if dirs := conf(maxConfs - 1); len(dirs) != 1 {
		t.Errorf("few patterns: %q", dirs)
	}
	if dirs := conf(maxConfs); len(dirs) != 0 {
		t.Errorf("many patterns: %q", dirs)
	}
}

func TestMusl(t *testing.T) {
	const ld = "/lib/ld-musl-armhf.so.1"
	arm := func(f elftest.File) elftest.File {
		f.Machine, f.Narrow, f.Flags = 40, true, 0x5000400
		return f
	}
	x := fixture{
		"bin/x":                     arm(elftest.File{Interp: ld, Needed: []string{"liba.so", "libc.musl-armhf.so.1", "libm.so.6"}, RunPath: new("/none:$ORIGIN/lib")}),
		"bin/lib/liba.so":           arm(elftest.File{Soname: "libz.so", Needed: []string{"libb.so", "libc.so", "libz.so"}, RPath: "/deep"}),
		"bin/lib/libb.so":           arm(elftest.File{Needed: []string{"libd.so", "liblocal.so"}}), // by the program's RUNPATH
		"deep/libd.so":              arm(elftest.File{}),                                           // by liba's RPATH
		"lib/libz.so":               arm(elftest.File{}),                                           // though liba is called that
		"usr/local/lib/liblocal.so": arm(elftest.File{}),
		"lib/libc.so":               "musl needs no such file",
		"lib/libm.so.6":             "musl needs no such file",
		"lib/ld-musl-armhf.so.1":    arm(elftest.File{Soname: "libc.musl-armhf.so.1"}),
		"etc/ld.so.cache":           elftest.Cache{Entries: [][2]string{{"liblocal.so", "/cached/liblocal.so"}}},
		"cached/liblocal.so":        arm(elftest.File{}),
	}
	all := []string{ld, "/bin/lib/liba.so", "/bin/lib/libb.so", "/lib/libz.so", "/deep/libd.so", "/usr/local/lib/liblocal.so"}
	find(t, x.make(t), "bin/x").expect(t, all...)

	// A library by itself has no loader but by its name.
	find(t, x.make(t), "lib/libz.so").expect(t)
	x["lib/libself.so"] = arm(elftest.File{Needed: []string{"libc.musl-armhf.so.1", "libz.so"}})
	find(t, x.make(t), "lib/libself.so").expect(t, ld, "/lib/libz.so")

	// Where a file says where to look, the usual directories are not for it.
	x["etc/ld-musl-armhf.path"] = "/cached:/none\n\n/lib\n"
	all[5] = "/cached/liblocal.so"
	find(t, x.make(t), "bin/x").expect(t, all...)
	x["etc/ld-musl-armhf.path"] = ""
	find(t, x.make(t), "lib/libself.so").expect(t, ld, "!lib/libself.so: libz.so: not found")
	delete(x, "lib/ld-musl-armhf.so.1")
	find(t, x.make(t), "lib/libself.so").expect(t,
		"!lib/libself.so: "+ld+": not found", "!lib/libself.so: libz.so: not found")
}

func TestIsMusl(t *testing.T) {
	for name, want := range map[string]bool{
		"libc.so": true, "libm.so.6": true, "libpthread.so.0": true, "libc.musl-x86_64.so.1": true, "librt.": true, "libxnet.so": true,
		"libcc.so": false, "libc": false, "lib.so": false, "libmm.so": false, "libc m.so": false, "c.so": false, "": false,
		"libcrypt.so.1": false, "lib .so": false,
	} {
		if got := isMusl(name); got != want {
			t.Errorf("%q: %v", name, got)
		}
	}
}

// A program that was made to be looked for without end is given up, and the next one is not.
func TestProbes(t *testing.T) {
	x := fixture{"bin/ok": elftest.File{Needed: []string{"liba.so"}}, "lib/liba.so": elftest.File{}}
	var rpath strings.Builder
	rpath.WriteString("/")
	for i := range 10_000 {
		rpath.WriteString(fmt.Sprint(":/", i))
	}
	for i := range 50 {
		next := []string{"liba.so", fmt.Sprintf("lib%d.so", i+1)}
		for j := range 200 {
			next = append(next, fmt.Sprint("no", j))
		}
		x[fmt.Sprintf("lib%d.so", i)] = elftest.File{Needed: next, RPath: rpath.String()}
	}
	root := x.make(t)
	begin := time.Now()
	r := find(t, root, "lib0.so", "bin/ok")
	if !slices.Contains(r.fails, "lib0.so: there are too many places to look in") || slices.Contains(r.fails, "bin/ok: liba.so: not found") {
		t.Errorf("%d failures, %q", len(r.fails), r.fails[max(0, len(r.fails)-2):])
	}
	if !slices.Contains(r.libs, "/lib/liba.so") {
		t.Errorf("%q", r.libs)
	}
	t.Logf("%v", time.Since(begin))
}

// A tree may claim to be of any number of architectures, and ld.so.conf to have any number of directories.
func TestManyDirectories(t *testing.T) {
	var conf strings.Builder
	for i := range 3000 {
		fmt.Fprintf(&conf, "/opt/%d\n", i)
	}
	x := fixture{
		"x":                    elftest.File{Needed: []string{"liba.so", "libb.so"}, RPath: strings.Repeat("/$LIB:", 10_000)},
		"etc/ld.so.conf":       conf.String(),
		"lib/liba.so":          elftest.File{},
		"opt/2999/libb.so":     elftest.File{},
		"opt/999/libb.so":      elftest.File{Machine: 3},
		"etc/ld.so.conf.d/any": "",
	}
	for i := range 300 {
		x[fmt.Sprintf("lib/%d-linux-gnu/any", i)] = ""
	}
	find(t, x.make(t), "x").expect(t, "/lib/liba.so", "!x: there are too many places to look in")
	x["x"] = elftest.File{Needed: []string{"liba.so", "libb.so"}}
	find(t, x.make(t), "x").expect(t, "/lib/liba.so", "!x: libb.so: only for another architecture")
}
