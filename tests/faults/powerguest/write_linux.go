//go:build faults

package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// A job is a run of ctbox and the files that it writes. In args, OUT stands for the directory for them.
type job struct {
	outputs, args string
}

// jobs are the ways in which ctbox writes files. Inputs are in the directory ref, where all outputs are made first: so it is
// known what they must be, and they are inputs of later jobs; the first two jobs are always done.
var jobs = [...]job{
	{"a.list cache", "fileids --cache=OUT/cache -o OUT/a.list tree"},
	{"a.layer", "mklayer -q -C tree -o OUT/a.layer a.list"},
	{"a.diff", "listdiff -o OUT/a.diff base.list a.list"},
	{"a.list.sha256", "sha256 -o OUT/a.list.sha256 a.list"},
	{"a.initrd", "mkinitrd -C tree -z gzip -o OUT/a.initrd a.list"},
	{"a.json", "dockjson -t template.json -o OUT/a.json a"},
	{"a.gz", "gz -o OUT/a.gz a.layer"},
	{"a.image a.digests", "mkimage -q --digest-file=OUT/a.digests -o OUT/a.image layers"},
	{"a.oci", "mkimage -q -z gzip --format=oci-dir -o OUT/a.oci layers"},
}

// run has ctbox do a job whose outputs go to dir. There must be no word of warning, and no temporary file of an earlier run left.
func (j job) run(ref, dir string) error {
	cmd := exec.Command("/ctbox", strings.Fields(strings.ReplaceAll(j.args, "OUT", dir))...)
	cmd.Dir = ref
	if said, err := cmd.CombinedOutput(); err != nil || len(said) > 0 {
		return fmt.Errorf("ctbox %s: %v: %q", strings.Join(cmd.Args[1:], " "), err, said)
	}
	if left := j.left(dir); left != nil {
		return fmt.Errorf("%s is left after the next run", left)
	}
	return nil
}

// left are the temporary files of the outputs in dir.
func (j job) left(dir string) (names []string) {
	for o := range strings.FieldsSeq(j.outputs) {
		some, _ := filepath.Glob(filepath.Join(dir, "."+o+"[0-9]*"))
		names = append(names, some...)
	}
	return names
}

// write makes versions of some outputs, again and again, on all disks at once. The directory ref is not in memory, for
// caches are for file systems alone that say for sure when a file changed.
func write(ref string, disks []disk) error {
	for {
		others := rand.Perm(len(jobs) - 2)[:2]
		slices.Sort(others) // as in the table, where inputs are made before they are used
		some := []job{jobs[0], jobs[1], jobs[2+others[0]], jobs[2+others[1]]}
		sums, err := next(ref, some)
		if err != nil {
			return err
		}
		done := make(chan error)
		for _, d := range disks {
			go func() { done <- d.write(ref, some, sums) }()
		}
		for range disks {
			if err := <-done; err != nil {
				return err
			}
		}
	}
}

// inputs makes ref new.
func inputs(ref string) error {
	old, _ := filepath.Glob(ref + "/*")
	for _, name := range old {
		if err := os.RemoveAll(name); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(ref+"/tree/dir", 0o755); err != nil {
		return err
	}
	for name, content := range map[string]string{
		"template.json": `{"architecture": "amd64", "os": "linux"}`,
		"a.list.sha256": strings.Repeat("b", 64) + "\n",
		"layers":        "a\n",
		"base.list":     "",
		"tree/dir/file": "file",
		"tree/init":     "#!/bin/sh\n",
	} {
		if err := os.WriteFile(filepath.Join(ref, name), []byte(content), 0o755); err != nil {
			return err
		}
	}
	return nil
}

// tidy has ctbox write on copies what it wrote when they were made, if that left temporary files, and takes the copies out of
// use: the host may make others then.
func tidy(ref string, copies []disk) error {
	if _, err := next(ref, jobs[:2]); err != nil {
		return err
	}
	for _, d := range copies {
		for _, j := range jobs {
			if j.left(d.dir) == nil {
				continue
			}
			if err := j.run(ref, d.dir); err != nil {
				return err
			}
		}
		if err := unix.Unmount(d.dir, 0); err != nil {
			return err
		}
	}
	return nil
}

// next changes the inputs, and returns what the digests of the jobs' outputs will be.
func next(ref string, jobs []job) (map[string]string, error) {
	if err := os.WriteFile(ref+"/tree/data", version(), 0o644); err != nil {
		return nil, err
	}
	// A cache leaves out what was just changed, since it may change again within one tick of the clock. Here, this is long ago.
	now := unix.NsecToTimespec(time.Now().Add(time.Minute).UnixNano())
	if err := unix.ClockSettime(unix.CLOCK_REALTIME, &now); err != nil {
		return nil, err
	}
	sums := map[string]string{}
	for _, j := range jobs {
		if err := j.run(ref, ref); err != nil {
			return nil, err
		}
		for o := range strings.FieldsSeq(j.outputs) {
			sum, err := digest(filepath.Join(ref, o))
			if err != nil {
				return nil, err
			}
			sums[o] = sum
		}
	}
	return sums, nil
}

// version is content that there has not been before.
func version() []byte {
	b := make([]byte, 5000+rand.IntN(1<<rand.IntN(19)))
	for i := range b {
		b[i] = byte(rand.Uint32())
	}
	return b
}

// write does the jobs on the disk, in any order, and says of each output that it will be written, and that it was.
func (d disk) write(ref string, jobs []job, sums map[string]string) error {
	var begin []string
	for o, sum := range sums {
		begin = append(begin, fmt.Sprintf("begin %s %s %s", d.name, o, sum))
	}
	say(begin...)
	for _, i := range rand.Perm(len(jobs)) {
		if err := jobs[i].run(ref, d.dir); err != nil {
			return err
		}
		var acks []string
		for o := range strings.FieldsSeq(jobs[i].outputs) {
			sum, err := digest(filepath.Join(d.dir, o))
			if err == nil && sum != sums[o] {
				err = fmt.Errorf("%s: %s has digest %s, elsewhere it was %s", d.name, o, sum, sums[o])
			}
			if err != nil {
				return err
			}
			acks = append(acks, fmt.Sprintf("ack %s %s %s", d.name, o, sum))
		}
		say(acks...)
	}
	return nil
}

// other is a file of programs that have nothing to do with ours.
const other = "other"

// careless writes the file "out" as ctbox must not: as the writer's name says, which is "no-fsync-of-directory", "no-fsync" or
// "in-place".
func (d disk) careless() error {
	out := filepath.Join(d.dir, "out")
	temp := filepath.Join(d.dir, ".out1")
	if d.writer == "in-place" {
		temp = out
	}
	for {
		content := version()
		sum := digestOf(content)
		say(fmt.Sprintf("begin %s out %s", d.name, sum))
		err := put(temp, content, d.writer == "no-fsync-of-directory")
		if err == nil && temp != out {
			err = os.Rename(temp, out)
		}
		if err == nil && d.writer != "no-fsync-of-directory" {
			// An fsync by anybody brings all that was renamed and truncated to disk, but not what is in other files.
			err = put(filepath.Join(d.dir, other), content[:1], true)
		}
		if err != nil {
			return err
		}
		say(fmt.Sprintf("ack %s out %s", d.name, sum))
		time.Sleep(10 * time.Millisecond) // leaves the processor to the others
	}
}

func put(path string, content []byte, sync bool) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.Write(content); err != nil {
		return err
	}
	if sync {
		return f.Sync()
	}
	return nil
}
