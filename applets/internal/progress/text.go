package progress

import (
	"strconv"
	"time"
)

// begun reports whether there is anything to show.
func (l *Line) begun() bool { return l.files.Load() > 0 || l.bytes.Load() > 0 || l.listed.Load() > 0 }

// text appends the line: "ctbox sha256: 1.2 GiB of 4.0 GiB, 30%, 512.0 MiB/s". It holds nothing but ASCII: each byte
// takes one column.
func (l *Line) text(b []byte, now time.Time) []byte {
	files, bytes, total := l.files.Load(), l.bytes.Load(), l.total.Load()
	b = append(append(b, l.name...), ": "...)
	if files > 0 {
		b = append(strconv.AppendInt(b, files, 10), " files, "...)
	}
	b = appendSize(b, bytes)
	if total > 0 && total >= bytes { // less is a file that has grown
		b = append(appendSize(append(b, " of "...), total), ", "...)
		b = appendPercent(b, bytes, total)
	}
	if list := l.list.Load(); list > 0 {
		b = appendPercent(append(b, ", "...), l.listed.Load(), list)
		b = append(b, " of the list"...)
	}
	return append(appendSize(append(b, ", "...), l.past.rate(now, bytes)), "/s"...)
}

// appendSize appends a number of bytes in units of 1024, rounded down to tenths: "1.2 GiB".
func appendSize(b []byte, bytes int64) []byte {
	const units = "KMGTPE"
	if bytes < 1024 {
		return append(strconv.AppendInt(b, bytes, 10), " B"...)
	}
	unit := 0
	for bytes >= 1<<20 {
		bytes >>= 10
		unit++
	}
	b = append(strconv.AppendInt(b, bytes>>10, 10), '.', byte('0'+bytes%1024*10/1024))
	return append(b, ' ', units[unit], 'i', 'B')
}

// appendPercent rounds down, so that 100% is all.
func appendPercent(b []byte, part, whole int64) []byte {
	percent := int64(float64(min(part, whole)) / float64(whole) * 100)
	return append(strconv.AppendInt(b, percent, 10), '%')
}

// A pace is how fast it goes, over the last three seconds on a terminal: slow enough to be read, and soon at zero
// when nothing goes.
type pace struct {
	start time.Time
	past  [30]struct {
		at    time.Time
		bytes int64
	}
	next int
}

func (p *pace) begin(start time.Time) {
	*p = pace{start: start}
	for i := range p.past {
		p.past[i].at = start
	}
}

// rate is in bytes for a second; it must be called with each line.
func (p *pace) rate(now time.Time, bytes int64) int64 {
	slot := &p.past[p.next]
	p.next = (p.next + 1) % len(p.past)
	rate := 0.0
	if took := now.Sub(slot.at); took > 0 {
		rate = float64(bytes-slot.bytes) / took.Seconds()
	}
	slot.at, slot.bytes = now, bytes
	return int64(rate)
}
