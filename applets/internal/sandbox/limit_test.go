package sandbox

import (
	"strings"
	"testing"
)

func TestParseLimits(t *testing.T) {
	for words, want := range map[string]Limits{
		"":                              {},
		"mem=512M":                      {Memory: 512 << 20},
		"mem=64":                        {Memory: 64 << 20},
		"mem=2g,pids=100,cpu=1.5":       {2 << 30, 100, 1.5},
		"mem=2G pids=1 cpu=0.01":        {2 << 30, 1, 0.01},
		"pids=5,pids=6 cpu=8 pids=7":    {Pids: 7, CPU: 8},
		"cpu=1e1,pids=4194304,mem=300K": {300 << 10, 4194304, 10},
	} {
		if got, err := ParseLimits(strings.Fields(words)); got != want || err != nil {
			t.Errorf("%q: %+v, %v", words, got, err)
		}
	}
	if q := (Limits{CPU: 0.29}).quota(); q != 29000 {
		t.Errorf("quota %d", q)
	}
}

func TestParseLimitsErrors(t *testing.T) {
	for word, want := range map[string]string{
		"":             "--limit : there are mem=SIZE, pids=N and cpu=N",
		"memory=1G":    "--limit memory=1G: there are",
		"pids=1,":      "--limit : there are",
		"mem":          `--limit mem: "" is not a size`,
		"mem=0":        `--limit mem=0: "0" is not a size`,
		"mem=-1M":      `is not a size`,
		"mem=1X":       `--limit mem=1X: "1X" is not a size: give a number with a unit, as in 512M or 2G`,
		"pids=0":       "--limit pids=0: give a number of processes from 1 to 4194304",
		"pids=-1":      "from 1 to",
		"pids=1.5":     "from 1 to",
		"pids=max":     "from 1 to",
		"pids=4194305": "from 1 to",
		"cpu=0":        "--limit cpu=0: give a number of processors, such as 1.5; at least 0.01",
		"cpu=50%":      "such as 1.5",
		"cpu=NaN":      "such as 1.5",
		"cpu=+Inf":     "such as 1.5",
		"cpu=":         "such as 1.5",
	} {
		if l, err := ParseLimits([]string{"mem=1G", word}); err == nil || !strings.Contains(err.Error(), want) || l != (Limits{}) {
			t.Errorf("%q: %+v, %v, want %q", word, l, err, want)
		}
	}
}
