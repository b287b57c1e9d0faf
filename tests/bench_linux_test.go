package tests

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// benchmark runs scripts/bench of a source with few records, and returns what it prints and its status.
func benchmark(t *testing.T, src, data string, args ...string) (string, int) {
	t.Helper()
	cmd := exec.Command("sh", append([]string{filepath.Join(src, "scripts/bench")}, args...)...)
	cmd.Env = append(os.Environ(), "RECORDS=1000", "ROUNDS=1", "BENCH_DATA="+data)
	out, err := cmd.CombinedOutput()
	if exit := new(exec.ExitError); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

func TestBenchNames(t *testing.T) {
	list, status := benchmark(t, "..", t.TempDir(), "--list")
	names := strings.Fields(list)
	if status != 0 || len(names) < 30 {
		t.Fatalf("--list: status %d, %q", status, list)
	}
	for _, name := range []string{"ratio_fileids_python", "ratio_gz_pigz", "ratio_load_docker", "ratio_start", "memory_sparse", "scale_listdiff"} {
		if !slices.Contains(names, name) {
			t.Errorf("%s is not in %q", name, names)
		}
	}
	for _, args := range [][]string{{"ratio_fileid"}, {"ratio_start", "nothing_*"}, {"--lists"}, {"--json"}} {
		if out, status := benchmark(t, "..", t.TempDir(), args...); status != 2 || !strings.HasPrefix(out, "bench: "+args[len(args)-1]) {
			t.Errorf("%q: status %d, %q", args, status, out)
		}
	}
}

// A result of scripts/bench, as far as it is looked at here.
type result struct {
	Measurement, Verdict, Note string
	Ours, Limit, MiB           float64
}

// TestBenchMeasures makes the three reports of small measurements. How they end depends on the machine; that they end does not.
func TestBenchMeasures(t *testing.T) {
	requireTool(t, "cc", "comm", "awk")
	src, data := copySource(t, filepath.Join(t.TempDir(), "ctbox")), t.TempDir()
	out, status := benchmark(t, src, data, "--readme", "*_listdiff")
	if status > 1 {
		t.Fatalf("status %d\n%s", status, out)
	}
	text, err := os.ReadFile(filepath.Join(src, "scripts/bench.d/result.json"))
	check(t, err)
	var report struct {
		Machine map[string]string
		Results []result
	}
	if err := json.Unmarshal(text, &report); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	if report.Machine["records"] != "1000" || report.Machine["kernel"] == "" || report.Machine["go"] == "" {
		t.Errorf("machine: %q", report.Machine)
	}
	seen := map[string]int{}
	for _, r := range report.Results {
		seen[r.Measurement]++
		// So few records take no longer than fewer: any exponent may come out.
		if r.Verdict != "ok" && r.Verdict != "over" || r.Limit <= 0 || r.Ours <= 0 && r.Measurement != "scale_listdiff" {
			t.Errorf("%+v\n%s", r, out)
		}
	}
	if seen["ratio_listdiff"] != 1 || seen["memory_listdiff"] != 4 || seen["scale_listdiff"] != 1 || len(seen) != 3 {
		t.Errorf("results: %v\n%s", seen, out)
	}
	svgBars(t, filepath.Join(src, "scripts/bench.d/result.svg"), len(report.Results))
	readme, err := os.ReadFile(filepath.Join(src, "README.md"))
	check(t, err)
	if n := strings.Count(string(readme), "\n| listdiff"); n != 3 {
		t.Errorf("README.md has %d results of 3 measurements", n)
	}
	if !strings.Contains(string(readme), "\n## Limits\n") {
		t.Error("the end of README.md is gone")
	}
}

// svgBars counts the bars of a chart, reading it to its end.
func svgBars(t *testing.T, path string, want int) {
	t.Helper()
	file, err := os.Open(path)
	check(t, err)
	defer file.Close()
	bars := 0
	for dec := xml.NewDecoder(file); ; {
		token, err := dec.Token()
		if err == io.EOF {
			break
		}
		check(t, err)
		if element, ok := token.(xml.StartElement); ok && element.Name.Local == "rect" {
			bars++
		}
	}
	if bars != want {
		t.Errorf("%d bars instead of %d", bars, want)
	}
}

// What is missing is skipped, with the reason; what fails is not taken for a result; data that is there is not made again.
func TestBenchSkips(t *testing.T) {
	requireTool(t, "cc", "awk")
	src, data := copySource(t, filepath.Join(t.TempDir(), "ctbox")), t.TempDir()
	part := filepath.Join(src, "scripts/bench.d/memory.sh")
	text, err := os.ReadFile(part)
	check(t, err)
	check(t, os.WriteFile(part, append(text, []byte(`
memory_skipped() {
	row 'this' 'that' 1
	needs no-such-program
	exit 3
}
memory_failed() {
	lists
	echo "$old" | sed 's|.*/|made |'
	false
	echo "not reached"
}
`)...), 0o666))
	check(t, os.Mkdir(filepath.Join(data, "lists-1000"), 0o777))
	out, status := benchmark(t, src, data, "memory_skipped", "memory_failed")
	if status != 1 || !strings.Contains(out, "skipped: no-such-program is not installed\n") || !strings.Contains(out, "failed: status 1\n") {
		t.Errorf("status %d\n%s", status, out)
	}
	if left, err := os.ReadDir(filepath.Join(data, "lists-1000")); err != nil || len(left) != 0 || strings.Contains(out, "not reached") {
		t.Errorf("%v, %v\n%s", left, err, out)
	}
	if out, status := benchmark(t, src, data, "memory_skipped"); status != 0 {
		t.Errorf("status %d\n%s", status, out)
	}
}
