package list

import (
	"bytes"
	"io"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/ctbox/ctbox/applets/internal/fuzztest"
)

// The grammar of ctbox-list(5), written once more as the page has it.
var (
	number   = `(0|[1-9][0-9]{0,9})`
	sum      = `[0-9a-f]{64}`
	recordRE = regexp.MustCompile(`(?s)^(\.|\./.*) (-|([0-7]{7})-` + number + `-` + number + `-(0|` + sum + `)(-rdev=` + number + `:` + number + `)?(-xattr=` + sum + `)?(-link=(.*))?)$`)
	escapeRE = regexp.MustCompile(`%(0[0-9A-F]|1[0-9A-F]|20|25|7F)`)
)

// isRecord says whether the page allows a record.
func isRecord(text string) bool {
	m := recordRE.FindStringSubmatch(text)
	if m == nil || strings.Contains(m[2], " ") || !isName(m[1]) {
		return false
	}
	if m[2] == "-" {
		return true
	}
	for _, n := range []string{m[4], m[5], m[8], m[9]} {
		if v, _ := strconv.ParseUint(n, 10, 64); v >= 1<<32 {
			return false
		}
	}
	file := m[3][:3] == "010"
	switch m[3][:3] {
	case "010", "012":
		if m[6] == "0" {
			return false
		}
	case "001", "002", "004", "006", "014":
		if m[6] != "0" {
			return false
		}
	default:
		return false
	}
	device := m[3][:3] == "002" || m[3][:3] == "006"
	return m[4] != "4294967295" && m[5] != "4294967295" && (m[7] == "" || device) && (m[11] == "" || file && isLink(m[12]))
}

func isName(name string) bool {
	if name == "." {
		return true
	}
	for part := range strings.SplitSeq(name[2:], "/") {
		if part == "" || part == "." || part == ".." || len(part) > 255 {
			return false
		}
	}
	return len(name) <= 65536 && !strings.Contains(name, "\x00")
}

func isLink(encoded string) bool {
	plain := escapeRE.ReplaceAllStringFunc(encoded, func(s string) string {
		c, _ := strconv.ParseUint(s[1:], 16, 8)
		return string([]byte{byte(c)})
	})
	for i := range len(encoded) {
		if c := encoded[i]; c <= ' ' || c == 0x7f || c == '%' && !escapeRE.MatchString(encoded[i:min(i+3, len(encoded))]) {
			return false
		}
	}
	return plain == "." || strings.HasPrefix(plain, "./") && isName(plain)
}

// hostileLists are lines of every row of L, D and P that a list can have.
var hostileLists = []string{
	"", "\n", ".", ". ", " -", ". -", "./a -\n./a -\n", "./b -\n./a -\n", "./a -\r\n", "\xef\xbb\xbf. -\n", "/a -", "../a -", "./../a -", "./a/ -", "./a//b -", "./a/./b -", "a -",
	"./.wh.a -", "./a\x00 -", "./a\tb -", "./a  b  -", "./\xff\xfe -", "./a 0100644-0-0-" + strings.Repeat("A", 64), "./a 0100644-0-0-" + strings.Repeat("0", 63),
	"./a 0100644-0-0-" + strings.Repeat("0", 65), "./a 0100644-+0-0-" + digestA, "./a 0100648-0-0-" + digestA, "./a 0100644-00-0-" + digestA,
	"./a 0100644-4294967295-0-" + digestA, "./a 0100644-0-4294967296-" + digestA, "./d 0040755-0-0-" + digestA, "./d 0040755-0-0-0-link=./a", "./d 0040755-0-0-0-",
	"./c 0020600-0-0-0-rdev=5:1-xattr=" + digestA, "./c 0020600-0-0-0-xattr=" + digestA + "-rdev=5:1", "./c 0020600-0-0-0-rdev=05:1", "./c 0100600-0-0-" + digestA + "-rdev=5:1",
	"./l 0100644-0-0-" + digestA + "-link=./a%20b-link=./c", "./l 0100644-0-0-" + digestA + "-link=./a%41", "./l 0100644-0-0-" + digestA + "-link=../a", "./l 0100644-0-0-" + digestA + "-link=.",
	"./" + strings.Repeat("a", 256) + " -", "./" + strings.Repeat("a/", 40000) + "a -", strings.Repeat("x", 70000), "./a -\x00./b -\x00", ". 0200000-0-0-0", ". 0777777-0-0-0",
}

// A list is taken if the page says so, and not otherwise; what it takes to find that out does not grow with it.
func FuzzGrammar(f *testing.F) {
	for _, text := range hostileLists {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		want := true
		prev := ""
		for line := range strings.SplitSeq(strings.TrimSuffix(string(text), "\n"), "\n") {
			if len(text) > 0 {
				name := line[:max(0, strings.LastIndexByte(line, ' '))]
				want = want && isRecord(line) && name > prev
				prev = name
			}
		}
		var err error
		fuzztest.Bounded(t, len(text), 2<<20, 16, func() {
			s := NewScanner("list", bytes.NewReader(text), false)
			for err == nil {
				_, err = s.Next()
			}
		})
		if (err == io.EOF) != want {
			t.Errorf("%.300q: %v", text, err)
		}
	})
}
