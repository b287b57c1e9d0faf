package list

import (
	"strings"
	"testing"
)

// A survey is the same whatever separates records, and counts what is a file of its own.
func TestSurvey(t *testing.T) {
	const text = "./a 0010644-0-0-0\n./b -\n./c 0100644-0-0-e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855-link=./a\n./d 0040755-0-0-0\n"
	var digests []Digest
	for _, null := range []bool{false, true} {
		records := text
		if null {
			records = strings.ReplaceAll(text, "\n", "\x00")
		}
		in, err := Open("", strings.NewReader(records), null)
		if err != nil {
			t.Fatal(err)
		}
		defer in.Close()
		digest, files, err := in.Survey()
		if err != nil || files != 2 {
			t.Errorf("%d files, %v", files, err)
		}
		digests = append(digests, digest)
	}
	if digests[0] != digests[1] || digests[0] == (Digest{}) {
		t.Errorf("digests %x", digests)
	}
	in, err := Open("", strings.NewReader("./b 0010644-0-0-0\n./a 0010644-0-0-0\n"), false)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	if _, _, err := in.Survey(); err == nil {
		t.Error("no error for a list that is out of order")
	}
}
