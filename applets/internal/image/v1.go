package image

import (
	"fmt"
	"time"
)

// listIDs are the names of the layers in the old format: the digests of their lists.
func listIDs(layers []string) ([]string, error) {
	var ids []string
	owner := map[string]string{}
	for _, name := range layers {
		id, err := listID(name)
		if err != nil {
			return nil, err
		}
		if other, ok := owner[id]; ok {
			return nil, fmt.Errorf("%s.list.sha256: same list as %s: the old format names a layer by it, and cannot hold two", name, other)
		}
		owner[id] = name
		ids = append(ids, id)
	}
	return ids, nil
}

// LayerJSON is the description of one layer in Docker's first image format: the template with id, parent,
// created and Size set. layer and parent are names of layers; "" is no parent.
func LayerJSON(t *Template, layer, parent string, created time.Time) ([]byte, error) {
	l, err := newLayer(layer)
	if err != nil {
		return nil, err
	}
	id, err := listID(layer)
	if err != nil {
		return nil, err
	}
	var above string
	if parent != "" {
		if above, err = listID(parent); err != nil {
			return nil, err
		}
		if above == id {
			return nil, fmt.Errorf("%s: is its own parent", layer)
		}
	}
	return t.layerJSON(id, above, created, l.size), nil
}

func (t *Template) layerJSON(id, parent string, created time.Time, size int64) []byte {
	root := *t.root
	root.members = append([]member(nil), root.members...)
	root.set("id", text(id))
	if parent == "" {
		root.remove("parent")
	} else {
		root.set("parent", text(parent))
	}
	root.set("created", text(timestamp(created)))
	root.set("Size", integer(size))
	return root.indented()
}

// v1 lists the archive's entries as the cookbook has them: the topmost layer first, then the names.
func (b *build) v1() []part {
	var all parts
	for i := len(b.layers) - 1; i >= 0; i-- {
		id, parent := b.ids[i], ""
		if i > 0 {
			parent = b.ids[i-1]
		}
		l := b.layers[i]
		all.add(id+"/", nil, nil)
		all.add(id+"/VERSION", []byte("1.0\n"), nil)
		all.add(id+"/json", b.template.layerJSON(id, parent, b.Created, l.size), nil)
		all.add(id+"/layer.tar", nil, l)
	}
	if len(b.Tags) > 0 {
		all.add("repositories", b.repositories(), nil)
	}
	return all
}

// repositories maps names and tags to the topmost layer.
func (b *build) repositories() []byte {
	top := b.ids[len(b.ids)-1]
	root := object()
	for _, tag := range b.Tags {
		within(root, tag.Familiar()).set(tag.Tag, text(top))
	}
	return root.indented()
}
