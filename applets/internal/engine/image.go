package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/ctbox/ctbox/applets/internal/cli"
)

// An Image is an archive that can be sent to an engine. Digests and diff IDs are "sha256:HEX".
type Image struct {
	// IDs are what an engine may call the image: the config digest (docker's graph driver store, podman) and
	// the digest of the manifest, or of an index of it (containerd's store).
	IDs     []string
	DiffIDs []string // of the layers, base first
	// Send writes the archive without the blobs of its first omit layers.
	Send func(w io.Writer, omit int) error
}

// Loaded says what Load did.
type Loaded struct {
	ID     string // by which this engine knows the image
	New    bool   // it was not there before
	Layers int    // that were sent
	Bytes  int64  // that were sent
}

// Load makes sure that the engine has img. It sends nothing when the image is there, and leaves out the
// layers that are: an engine looks for a layer before it opens the layer's file (docker by chain ID, the
// containerd store and podman by digest). Whatever goes wrong with that is cured by sending all.
func (e *Engine) Load(ctx context.Context, img Image) (Loaded, error) {
	if id, err := e.present(ctx, img); id != "" || err != nil {
		return Loaded{ID: id}, err
	}
	if omit := e.common(ctx, img.DiffIDs); omit > 0 {
		l, err := e.load(ctx, img, omit)
		if err == nil || ctx.Err() != nil {
			return l, err
		}
	}
	return e.load(ctx, img, 0)
}

// Remove removes an image and its names, unless a container uses it. It goes by the names, since an image that
// has several is removed by ID with --force only, and with that podman ends and removes other people's containers.
func (e *Engine) Remove(id string) error {
	out, err := e.ask(context.Background(), e.answer, "inspect", "--type", "image", "--format", "{{range .RepoTags}}{{.}} {{end}}", id)
	if err != nil {
		return err
	}
	names := fields(out)
	if len(names) == 0 {
		names = []string{id}
	}
	_, err = e.ask(context.Background(), e.work, append([]string{"rmi"}, names...)...)
	return err
}

// present returns the ID under which the engine has img, or "". Which of the digests it is depends on the
// engine's store (moby issue 48401); a name would say nothing, since anybody can move it.
func (e *Engine) present(ctx context.Context, img Image) (string, error) {
	ids, err := e.ids(ctx, img.IDs)
	if id := img.among(ids); id != "" {
		return id, nil
	}
	if ctx.Err() != nil {
		return "", context.Cause(ctx)
	}
	var hung silence
	if err != nil && !Absent(err) && !errors.As(err, &hung) {
		_, err = e.ask(ctx, e.answer, "version") // a no in words that are not known, or nobody there
	}
	if Absent(err) {
		err = nil
	}
	return "", err
}

// Absent tells whether an engine failed for want of an image: docker's words, podman's and nerdctl's.
func Absent(err error) bool {
	words := strings.ToLower(fmt.Sprint(err))
	return strings.Contains(words, "no such image") || strings.Contains(words, "image not known") || strings.Contains(words, "no such object")
}

// among returns the first of the engine's IDs that is one of the image's, or "".
func (img Image) among(ids []string) string {
	for _, id := range ids {
		if slices.Contains(img.IDs, withAlgorithm(id)) {
			return withAlgorithm(id)
		}
	}
	return ""
}

// ids returns the IDs of those of the images that are there.
func (e *Engine) ids(ctx context.Context, images []string) ([]string, error) {
	out, err := e.ask(ctx, e.answer, append([]string{"inspect", "--type", "image", "--format", "{{.Id}}"}, images...)...)
	return strings.Fields(out), err
}

// withAlgorithm completes podman's IDs, which are bare.
func withAlgorithm(id string) string {
	if strings.Contains(id, ":") {
		return id
	}
	return "sha256:" + id
}

// common is the length of the longest run of diff IDs, base first, that some image of the engine begins with.
// It errs on the side of 0: then all is sent.
func (e *Engine) common(ctx context.Context, diffIDs []string) int {
	out, err := e.ask(ctx, e.answer, "images", "--quiet", "--no-trunc")
	if err != nil {
		return 0
	}
	const most = 100 // bounds the command line and the answer
	ids := fields(out)
	slices.Sort(ids)
	ids = slices.Compact(ids)
	longest := 0
	for len(ids) > 0 {
		n := min(most, len(ids))
		for _, layers := range e.layers(ctx, ids[:n]) {
			same := 0
			for same < min(len(layers), len(diffIDs)) && layers[same] == diffIDs[same] {
				same++
			}
			longest = max(longest, same)
		}
		ids = ids[n:]
	}
	return longest
}

// layers returns the diff IDs of each image that the engine tells of.
func (e *Engine) layers(ctx context.Context, images []string) (all [][]string) {
	const format = "{{range .RootFS.Layers}}{{.}} {{end}}"
	out, _ := e.ask(ctx, e.answer, append([]string{"inspect", "--type", "image", "--format", format}, images...)...)
	for line := range strings.SplitSeq(out, "\n") {
		all = append(all, strings.Fields(line))
	}
	return all
}

// load sends img without its first omit layers and sees that it arrived.
func (e *Engine) load(ctx context.Context, img Image, omit int) (Loaded, error) {
	reply, sent, err := e.send(ctx, img, omit)
	if err != nil {
		return Loaded{}, err
	}
	// The containerd store prints this, knows the image ever after and exits 0; it cannot be run.
	if i := strings.Index(reply, "Error unpacking"); i >= 0 {
		return Loaded{}, fmt.Errorf("%s: load: %s", e.Name(), firstLine(reply[i:]))
	}
	id := img.among(loadedNames(reply)) // an image without a name is told by its ID
	if id == "" {
		id, err = e.present(ctx, img)
	}
	switch {
	case err != nil:
		return Loaded{}, err
	case id == "":
		return Loaded{}, e.mismatch(ctx, img, reply)
	}
	return Loaded{ID: id, New: true, Layers: len(img.DiffIDs) - omit, Bytes: sent}, nil
}

// send pipes the archive into the engine's load. A load may take as long as it needs.
func (e *Engine) send(ctx context.Context, img Image, omit int) (reply string, sent int64, err error) {
	cmd := e.command(ctx, "load")
	var out, errs clipped
	cmd.Stdout, cmd.Stderr = &out, &errs
	in, err := cmd.StdinPipe()
	if err != nil {
		return "", 0, err
	}
	if err := cmd.Start(); ctx.Err() != nil {
		return "", 0, context.Cause(ctx)
	} else if err != nil {
		return "", 0, notRun(e.path, err)
	}
	count := counter{w: in}
	sendErr := img.Send(&count, omit)
	if sendErr != nil && count.err == nil {
		cmd.Cancel() // the archive could not be read: the engine must not take what it got for the whole
	}
	in.Close()
	err = cmd.Wait()
	switch {
	case ctx.Err() != nil:
		return "", 0, context.Cause(ctx)
	case sendErr != nil && count.err == nil:
		return "", 0, sendErr
	case err != nil:
		return "", 0, e.explain(errs.String(), err)
	}
	return out.String() + "\n" + errs.String(), count.n, nil
}

// mismatch is the error of a load that went well but did not bring the image that was sent.
func (e *Engine) mismatch(ctx context.Context, img Image, reply string) error {
	ids, _ := e.ids(ctx, loadedNames(reply))
	if len(ids) == 0 {
		return fmt.Errorf("%s: load brought no image: %s", e.Name(), firstLine(reply))
	}
	return cli.Hint(fmt.Errorf("%s: image id mismatch: loaded %s, but the archive holds %s", e.Name(), withAlgorithm(ids[0]), img.IDs[0]),
		"rebuild the archive with ctbox mkimage")
}

// loadedNames reads the names or IDs from the engine's reply to load: "Loaded image: NAME", "Loaded image ID:
// ID" for an image without a name, and "Loaded image(s): NAME,NAME" in older podman.
func loadedNames(reply string) []string {
	var all []string
	for line := range strings.SplitSeq(reply, "\n") {
		for _, prefix := range []string{"Loaded image: ", "Loaded image ID: ", "Loaded image(s): "} {
			if names, ok := strings.CutPrefix(line, prefix); ok {
				all = append(all, fields(strings.ReplaceAll(names, ",", " "))...)
			}
		}
	}
	return all
}

// fields are the names and IDs in an answer that can be asked about: none of them is an option.
func fields(answer string) []string {
	var all []string
	for word := range strings.FieldsSeq(answer) {
		if word[0] != '-' {
			all = append(all, word)
		}
	}
	return all
}

// counter counts what is written, and keeps the writer's error apart from the reader's.
type counter struct {
	w   io.Writer
	n   int64
	err error
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	if err != nil && !errors.Is(err, os.ErrClosed) {
		c.err = err
	}
	return n, err
}
