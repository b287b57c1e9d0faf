//go:build faults

package faults

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"
)

var cutSeed = flag.Uint64("cut-seed", uint64(time.Now().UnixNano()), "chooses when the power is cut, and what is lost then")

// A volume is a file system of a guest. Its writer is ctbox, or a careless one that leaves out what ctbox does. That must be
// seen to fail: with such files as fails has, a regular expression for verdicts.
type volume struct{ name, kind, options, writer, fails string }

// TestPowerCut: what ctbox wrote with status 0 is whole and current after the power was cut at any time, and what it was
// writing then is the old file or the new one (G19).
func TestPowerCut(t *testing.T) {
	cutPower(t, scale(20, 200), []volume{
		{"plain", "ext4", "defaults", "ctbox", ""},
		{"eager", "ext4", "noauto_da_alloc,commit=1", "ctbox", ""},
		{"writeback", "ext4", "data=writeback", "ctbox", ""},
		{"careless1", "ext4", "defaults", "no-fsync-of-directory", "^(stale|missing)$"},
		{"careless2", "ext4", "noauto_da_alloc,commit=1", "no-fsync", "^torn$"},
		{"careless3", "ext4", "noauto_da_alloc,commit=1", "in-place", "^torn$"},
	})
}

// TestPowerCutOthers is TestPowerCut on other file systems. Their modules take long to load, so it is only for the long form.
func TestPowerCutOthers(t *testing.T) {
	if !*long {
		t.Skip("only with -long")
	}
	cutPower(t, 50, []volume{
		{"xfs", "xfs", "nouuid", "ctbox", ""},
		{"btrfs", "btrfs", "defaults", "ctbox", ""},
		{"careless1", "xfs", "defaults", "no-fsync-of-directory", "^(stale|missing)$"},
		{"careless2", "xfs", "defaults", "no-fsync", "."},
		{"careless3", "btrfs", "defaults", "no-fsync", "."},
	})
}

// inputs is the volume with what ctbox reads.
var inputs = volume{"inputs", "ext4", "defaults", "inputs", ""}

// copies is how often in one run the disks that ctbox writes to are copied, as they would be had the power been cut then.
const copies = 5

// A cutter cuts the power of a guest, again and again.
type cutter struct {
	*guest
	*judge
	volumes []volume // which are copied
	rand    *rand.Rand
	cuts    int // all, copies included
	copied  int // in this run
}

// cutPower cuts the power n times, or somewhat more often if careless writers have not failed until then. A copy of the disks,
// which the next guest looks at, too, counts as a cut: of a guest without power, nothing else is left.
func cutPower(t *testing.T, n int, volumes []volume) {
	fmt.Printf("%s: -cut-seed=%d\n", t.Name(), *cutSeed)
	c := cutter{judge: newJudge(t, volumes), rand: rand.New(rand.NewPCG(*cutSeed, 0))}
	for _, v := range volumes {
		if v.fails == "" && v.kind != "btrfs" { // which cannot have two with one UUID
			c.volumes = append(c.volumes, v)
		}
	}
	c.guest = newGuest(t, append(c.withCopies(volumes), inputs))
	c.supply.peek = c.copy
	c.guest.hear = c.hear
	kills := 0
	for ; c.cuts < n || kills < n && c.unseen() != nil; kills++ {
		if c.rand.IntN(8) == 0 { // while the disks are mounted and repaired, or soon after
			c.run(0, c.rand.IntN(400))
		} else {
			c.run(1+c.rand.IntN(40), c.rand.IntN(100))
		}
		c.cuts++
	}
	c.run(1, 0) // so that the last is looked at, too
	for _, what := range c.unseen() {
		t.Errorf("after %d starts, %s was not seen to fail: %v", kills, what, c.verdicts)
	}
	if c.acks == 0 {
		t.Error("nothing was acknowledged")
	}
	fmt.Printf("%s: %d guests killed; %d outputs acknowledged; found %d newer ones and %d temporary files; careless writers: %v\n",
		t.Name(), kills, c.acks, c.newer, c.temps, c.verdicts)
	count(t, c.cuts, "power cuts", c.wrong)
}

// withCopies appends volumes for copies.
func (c *cutter) withCopies(volumes []volume) []volume {
	for i := range copies {
		for _, v := range c.volumes {
			v.name, v.writer = copyName(v, i), "nobody"
			volumes = append(volumes, v)
		}
	}
	return volumes
}

func copyName(v volume, i int) string { return fmt.Sprintf("%s%d", v.name, i) }

// hear is the judge's, and sees to it that copies are made once ctbox writes.
func (c *cutter) hear(line string) bool {
	if line == "ready" {
		c.copied = 0
		c.supply.wait = 1 + c.rand.IntN(200)
	}
	return c.judge.hear(line)
}

// copy copies the disks, and has the judge hold the copies to what was said of the disks until now.
func (c *cutter) copy() {
	for _, v := range c.volumes {
		to := copyName(v, c.copied)
		c.supply.disks[v.name].copyTo(c.supply.disks[to], c.rand)
		c.judge.copy(v.name, to)
	}
	c.cuts++
	if c.copied++; c.copied < copies {
		c.supply.wait = 1 + c.rand.IntN(200)
	}
}

// A cutFile is a file or directory that guests write.
type cutFile struct {
	order map[string]int // of versions, by digest; 1 is the first
	last  int            // version
	acked int            // the last version that was acknowledged, or found after a cut
}

// A judge hears what guests say, and knows what must be on their disks.
type judge struct {
	t        *testing.T
	volumes  map[string]volume
	targets  map[string]*cutFile       // by volume and name
	found    map[string]string         // digests, likewise, since the last start
	verdicts map[string]map[string]int // by careless volume
	acks     int                       // of ctbox
	newer    int                       // files found that were not yet acknowledged
	temps    int                       // temporary files found
	wrong    int                       // starts after which anything was wrong
	faults   int                       // since the last start
}

func newJudge(t *testing.T, volumes []volume) *judge {
	j := &judge{t: t, volumes: map[string]volume{}, targets: map[string]*cutFile{}, verdicts: map[string]map[string]int{}}
	for _, v := range volumes {
		j.volumes[v.name] = v
		if v.fails != "" {
			j.verdicts[v.name] = map[string]int{}
		}
	}
	return j
}

// fault reports a breach of what ctbox promises.
func (j *judge) fault(format string, args ...any) {
	j.t.Errorf(format, args...)
	if j.faults++; j.faults == 1 {
		j.wrong++
	}
}

// hear takes a line from the guest, and reports whether that is a good one to count until a cut: the one before the guest
// begins to write, or the acknowledgement of an output of ctbox.
func (j *judge) hear(line string) bool {
	word, rest, _ := strings.Cut(line, " ")
	i := strings.LastIndexByte(rest, ' ')
	name, sum := rest[:max(i, 0)], rest[i+1:]
	switch word {
	case "boot":
		j.found, j.faults = map[string]string{}, 0
	case "found":
		j.found[name] = sum
	case "looked":
		j.judge()
	case "ready":
		return true
	case "begin":
		if j.targets[name] == nil {
			j.targets[name] = &cutFile{order: map[string]int{}}
		}
		j.targets[name].last++
		j.targets[name].order[sum] = j.targets[name].last
	case "ack":
		j.targets[name].acked = j.targets[name].order[sum]
		volume, _, _ := strings.Cut(name, " ")
		if j.verdicts[volume] == nil {
			j.acks++
			return true
		}
	default:
		j.fault("the guest says: %s", line)
	}
	return false
}

// copy says that a volume is now what another one is.
func (j *judge) copy(from, to string) {
	for name, target := range j.targets {
		if v, file, _ := strings.Cut(name, " "); v == from {
			copied := *target
			j.targets[to+" "+file] = &copied
		}
	}
}

// judge compares what was found with what was acknowledged. What was found is from then on what must be there.
func (j *judge) judge() {
	for name, target := range j.targets {
		sum, there := j.found[name]
		n, known := target.order[sum]
		verdict := "current"
		switch {
		case !there && target.acked > 0:
			verdict = "missing"
		case there && !known:
			verdict = "torn"
		case n < target.acked:
			verdict = "stale"
		}
		if verdicts := j.verdicts[strings.Fields(name)[0]]; verdicts != nil {
			verdicts[verdict]++
		} else if verdict != "current" {
			j.fault("%s is %s: version %d of %d, acknowledged: %d", name, verdict, n, target.last, target.acked)
		} else if n > target.acked {
			j.newer++
		}
		target.acked = n
	}
	j.judgeTemps()
	for name := range j.targets {
		if v, _, _ := strings.Cut(name, " "); j.volumes[v].name == "" { // guests do with copies what they like
			delete(j.targets, name)
		}
	}
}

// tempOf is the target that a file is a temporary one of, or "": its name is a dot, that of the target, and digits.
func (j *judge) tempOf(name string) string {
	for target := range j.targets {
		digits, ok := strings.CutPrefix(name, strings.Replace(target, " ", " .", 1))
		if ok && digits != "" && strings.Trim(digits, "0123456789") == "" {
			return target
		}
	}
	return ""
}

// judgeTemps: where ctbox writes, there are its targets, and for each at most one temporary file.
func (j *judge) judgeTemps() {
	ours, temps := map[string]bool{}, map[string]int{}
	for name := range j.targets {
		v, _, _ := strings.Cut(name, " ")
		ours[v] = j.verdicts[v] == nil
	}
	for name := range j.found {
		if v, _, _ := strings.Cut(name, " "); !ours[v] || j.targets[name] != nil {
			continue
		}
		of := j.tempOf(name)
		if of == "" {
			j.fault("%s is nothing that ctbox should write", name)
		}
		j.temps++
		if temps[of]++; of != "" && temps[of] == 2 {
			j.fault("%s has more than one temporary file", of)
		}
	}
}

// unseen are the careless writers that have not yet failed as they must.
func (j *judge) unseen() (names []string) {
	for name, verdicts := range j.verdicts {
		v, seen := j.volumes[name], false
		for verdict := range verdicts {
			seen = seen || verdict != "current" && regexp.MustCompile(v.fails).MatchString(verdict)
		}
		if !seen {
			names = append(names, fmt.Sprintf("%s on %s (%s)", v.writer, v.kind, v.options))
		}
	}
	return names
}

// sizes of volumes, in bytes, and what makes them.
var (
	sizes = map[string]int64{"ext4": 24 << 20, "xfs": 320 << 20, "btrfs": 256 << 20}
	mkfs  = map[string]string{
		"ext4":  "mke2fs -q -t ext4 -b 4096 -J size=4 -E lazy_itable_init=0,lazy_journal_init=0",
		"xfs":   "mkfs.xfs -q -s size=4096",
		"btrfs": "mkfs.btrfs -q",
	}
)

// makeVolume makes a file with an empty file system.
func makeVolume(t *testing.T, v volume, path string) {
	t.Helper()
	words := strings.Fields(mkfs[v.kind])
	requireTool(t, words[0])
	check(t, os.WriteFile(path, nil, 0o644))
	check(t, os.Truncate(path, sizes[v.kind]))
	if out, err := exec.Command(words[0], append(words[1:], path)...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", words[0], err, out)
	}
}

// TestPowerCutTemps: a temporary file is known by its name, also where that of its target ends in digits.
func TestPowerCutTemps(t *testing.T) {
	j := judge{targets: map[string]*cutFile{"v a.list": {}, "v a.list.sha256": {}}}
	for name, want := range map[string]string{
		"v .a.list.sha25612": "v a.list.sha256", "v .a.list7": "v a.list", "v .a.list": "", "v .a.list7x": "", "v a.list7": "", "w .a.list7": "",
	} {
		if got := j.tempOf(name); got != want {
			t.Errorf("%s: %q, not %q", name, got, want)
		}
	}
}
