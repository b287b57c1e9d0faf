package list

import (
	"fmt"
	"io"
	"strings"
	"testing"
)

func TestDraftIsReadMoreThanOnce(t *testing.T) {
	for _, n := range []int{0, 1, 50_000} { // the last is more than a spool holds in memory
		var d Draft
		for i := range n {
			fmt.Fprintf(&d, "./%06d 0040755-0-0-0\x00", i)
		}
		in := d.Input("draft", true)
		for range 2 {
			s := in.Scan()
			for i := range n {
				rec, err := s.Next()
				if err != nil || string(rec.Name) != fmt.Sprintf("./%06d", i) {
					t.Fatalf("record %d of %d: %v, %v", i, n, rec, err)
				}
			}
			if _, err := s.Next(); err != io.EOF {
				t.Errorf("after %d records: %v", n, err)
			}
		}
		var text strings.Builder
		if err := d.Copy(&text); err != nil || strings.Count(text.String(), "\x00") != n {
			t.Errorf("copied %d bytes: %v", text.Len(), err)
		}
		if err := in.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestDraftNamesItsErrors(t *testing.T) {
	var d Draft
	io.WriteString(&d, "./b 0040755-0-0-0\n./a 0040755-0-0-0\n")
	s := d.Input("both", false).Scan()
	s.Next()
	_, err := s.Next()
	if want := "both:2: ./a: not in order after ./b: names are sorted with LC_ALL=C sort"; err == nil || err.Error() != want {
		t.Errorf("%v, not %s", err, want)
	}
}
