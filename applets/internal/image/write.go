package image

import (
	"io"
	"os"
	"runtime"
	"sync"

	"github.com/ctbox/ctbox/applets/internal/output"
)

// Write writes the image to w as an archive: Hybrid, V1 or ACI. To a regular file layers are copied in parallel,
// each read once; to anything else they are hashed in parallel first and then copied in order, and copying
// compares the hashes again.
func Write(w io.Writer, o Options) (d Digests, err error) {
	b, err := newBuild(o)
	if err != nil {
		return d, err
	}
	if o.Format == ACI {
		return d, b.aci(w)
	}
	members := b.hybrid
	if o.Format == V1 {
		if b.ids, err = listIDs(o.Layers); err != nil {
			return d, err
		}
		members = b.v1
	}
	f, base, inFile := output.Seekable(w)
	done, err := b.recompress(!inFile)
	if err != nil {
		return d, err
	}
	defer done()
	if inFile {
		err = b.place(f, base, members)
	} else {
		err = b.stream(w, members)
	}
	if err != nil || o.Format == V1 {
		return d, err
	}
	return b.documents().Digests, nil
}

// A part is one entry of the archive: small data or a layer's blob.
type part struct {
	name  string
	data  []byte
	layer *layer
}

type parts []part

func (p *parts) add(name string, data []byte, l *layer) { *p = append(*p, part{name, data, l}) }

func (p *part) size() int64 {
	if p.layer != nil {
		return p.layer.size
	}
	return int64(len(p.data))
}

func (b *build) header(p part) []byte { return header(p.name, p.size(), max(b.Epoch.Unix(), 0)) }

// hybrid lists the archive's entries: first what describes it, so that readers need not search, then each
// blob once.
func (b *build) hybrid() []part {
	d := b.documents()
	var all parts
	all.add(layoutFile, []byte(layoutText), nil)
	all.add(indexFile, d.index, nil)
	all.add(savedFile, d.saved, nil)
	all.add(blobDir+hex(d.Digests.Manifest), d.manifest, nil)
	all.add(blobDir+hex(d.Digests.Config), d.config, nil)
	seen := map[string]bool{}
	for _, l := range b.layers {
		if l.digest == "" || !seen[l.digest] {
			seen[l.digest] = true
			all.add(blobDir+hex(l.digestOrBlank()), nil, l)
		}
	}
	return all
}

// place writes the archive into a file: layers where they belong, hashed on the way, then all the rest.
// Sizes are known beforehand, and what the digests are does not change them. Layers of equal size may be
// the same blob, so they are hashed first.
func (b *build) place(f *os.File, base int64, parts func() []part) error {
	again := b.ambiguous()
	for _, l := range again {
		b.Progress.Total(l.size)
	}
	if err := b.hash(again); err != nil {
		return err
	}
	at := base
	var copies []func() error
	for _, p := range parts() {
		at += int64(len(b.header(p)))
		if p.layer != nil {
			w := io.NewOffsetWriter(f, at)
			copies = append(copies, func() error { return p.layer.copy(w, b.Verify) })
		}
		at += p.size() + padding(p.size())
	}
	if err := parallel(copies); err != nil {
		return err
	}
	return b.placeRest(f, base, parts())
}

// placeRest writes headers, small files, padding and the end of the archive, and leaves f's offset there.
func (b *build) placeRest(f *os.File, at int64, parts []part) error {
	var err error
	put := func(text []byte) {
		if err == nil {
			_, err = f.WriteAt(text, at)
		}
		at += int64(len(text))
	}
	for _, p := range parts {
		text := b.header(p)
		if p.layer == nil {
			text = pad(append(text, p.data...))
		}
		put(text)
		if p.layer != nil {
			at += p.size()
			put(make([]byte, padding(p.size())))
		}
	}
	put(make([]byte, endOfTar))
	if err == nil {
		_, err = f.Seek(at, io.SeekStart)
	}
	return err
}

// stream writes the archive in order.
func (b *build) stream(w io.Writer, parts func() []part) error {
	if err := b.hash(b.unread()); err != nil {
		return err
	}
	for _, p := range parts() {
		text := b.header(p)
		if p.layer == nil {
			text = pad(append(text, p.data...))
		}
		if _, err := w.Write(text); err != nil {
			return err
		}
		if p.layer == nil {
			continue
		}
		// The check of the tar is done; the hash proves that these are the same bytes.
		if err := p.layer.copy(w, false); err != nil {
			return err
		}
		if _, err := w.Write(make([]byte, padding(p.size()))); err != nil {
			return err
		}
	}
	_, err := w.Write(make([]byte, endOfTar))
	return err
}

// unread lists the layers whose digests are not known.
func (b *build) unread() []*layer {
	var unread []*layer
	for _, l := range b.layers {
		if l.digest == "" {
			unread = append(unread, l)
		}
	}
	return unread
}

// ambiguous lists the layers that may equal another one.
func (b *build) ambiguous() []*layer {
	count := map[int64]int{}
	for _, l := range b.layers {
		count[l.size]++
	}
	var all []*layer
	for _, l := range b.unread() {
		if count[l.size] > 1 {
			all = append(all, l)
		}
	}
	return all
}

func (b *build) hash(layers []*layer) error {
	var work []func() error
	for _, l := range layers {
		work = append(work, func() error { return l.copy(io.Discard, b.Verify) })
	}
	return parallel(work)
}

// parallel runs work on all processors, starts nothing after a failure, and returns the first one in the
// order of work.
func parallel(work []func() error) error {
	errs := make([]error, len(work))
	next := make(chan int)
	var group sync.WaitGroup
	var stop sync.Once
	failed := make(chan struct{})
	for range min(runtime.GOMAXPROCS(0), len(work)) {
		group.Go(func() {
			for i := range next {
				if errs[i] = work[i](); errs[i] != nil {
					stop.Do(func() { close(failed) })
				}
			}
		})
	}
	for i := range work {
		select {
		case next <- i:
			continue
		case <-failed:
		}
		break
	}
	close(next)
	group.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// recompress brings the layers that are not compressed as wanted into a temporary file that has no name,
// because their size must be known before the archive can begin. done closes it.
func (b *build) recompress(streamed bool) (done func(), err error) {
	if err := b.sniff(streamed); err != nil {
		return nil, err
	}
	if b.Reuse == nil || b.Compress != "gzip" {
		b.Reuse = new(Reuse)
	}
	defer b.Reuse.end()
	var spool *os.File
	done = func() {
		if spool != nil {
			spool.Close()
		}
	}
	var end int64
	for _, l := range b.layers {
		if l.method == b.Compress {
			continue
		}
		if spool == nil {
			if spool, err = output.Unnamed(b.TempDir); err != nil {
				return nil, err
			}
			b.Reuse.open()
		}
		if err := l.convert(spool, end, b); err != nil {
			done()
			return nil, err
		}
		b.Progress.Total(l.size - l.info.Size())
		end += l.size
	}
	return done, nil
}

// sniff finds how the layers are compressed, and so how much is to be read: what must be compressed in another way is
// read twice, and so is what is streamed.
func (b *build) sniff(streamed bool) error {
	for _, l := range b.layers {
		if err := l.sniff(); err != nil {
			return err
		}
		b.Progress.Total(l.size)
		if streamed || l.method != b.Compress {
			b.Progress.Total(l.size)
		}
	}
	return nil
}
