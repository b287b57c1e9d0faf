package list

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
)

// A Tree follows names in list order and remembers those that may still turn out to be ancestors of a later one.
//
// List order is not depth first: "./a" may be followed by "./a-b" before "./a/x" comes. But whatever is an ancestor
// of a later name is a byte prefix of every name between, and what those names add to it sorts before a slash. So a
// stack of prefixes is all that must be kept, and its size is bounded by the length of a name.
type Tree struct {
	last  []byte
	stack []Node
}

// A Node is a name on the stack.
type Node struct {
	length    int    // of the name, which is a prefix of Tree.last
	Type      uint32 // of the record, as in MODE
	Deleted   bool
	undecided bool  // differ: the record is held back
	held      int64 // differ: where
	floor     int   // Floors: the lowest layer of which what is below can be seen
}

// ErrBelowDeleted and ErrNotDirectory are the ways in which a record contradicts one above it in the tree.
var (
	ErrBelowDeleted = errors.New("lies below a name that the list deletes")
	ErrNotDirectory = errors.New("lies below a name that is not a directory")
)

// Advance moves on to name and calls drop for each node that can have no more descendants: those that are no prefix
// of name, and those after which name goes on with a byte above the slash.
func (t *Tree) Advance(name []byte, drop func(*Node)) {
	common := commonPrefix(name, t.last)
	for i := len(t.stack) - 1; i >= 0; i-- {
		n := &t.stack[i]
		if n.length <= common && (n.length == len(name) || name[n.length] <= '/') {
			break
		}
		if drop != nil {
			drop(n)
		}
		t.stack = t.stack[:i]
	}
	t.last = append(t.last[:common], name[common:]...)
}

// commonPrefix is the number of bytes that a and b begin with alike.
func commonPrefix(a, b []byte) int {
	i, end := 0, min(len(a), len(b))
	for i+256 <= end && bytes.Equal(a[i:i+256], b[i:i+256]) {
		i += 256
	}
	for ; i+8 <= end; i += 8 {
		if x := binary.LittleEndian.Uint64(a[i:]) ^ binary.LittleEndian.Uint64(b[i:]); x != 0 {
			return i + bits.TrailingZeros64(x)/8
		}
	}
	for i < end && a[i] == b[i] {
		i++
	}
	return i
}

// Push puts the name of the last Advance on the stack.
func (t *Tree) Push(n Node) *Node {
	n.length = len(t.last)
	t.stack = append(t.stack, n)
	return &t.stack[len(t.stack)-1]
}

// Above is the nearest ancestor of the last name that is in the list, or nil.
func (t *Tree) Above() *Node {
	for i := len(t.stack) - 1; i >= 0; i-- {
		if n := &t.stack[i]; n.length < len(t.last) && t.last[n.length] == '/' {
			return n
		}
	}
	return nil
}

// Add advances to rec and pushes it, after checking that what is above it can hold it. orphan reports that its
// directory is not in the list.
func (t *Tree) Add(rec *Record) (orphan bool, err error) {
	t.Advance(rec.Name, nil)
	above := t.Above()
	if err := t.allows(above); err != nil {
		return false, err
	}
	parent := Parent(rec.Name)
	t.Push(Node{Type: rec.ID.Type(), Deleted: rec.ID.Deleted})
	return len(parent) > 1 && (above == nil || above.length != len(parent)), nil
}

// allows reports why a record cannot stand below the node.
func (t *Tree) allows(above *Node) error {
	switch {
	case above == nil:
		return nil
	case above.Deleted:
		return fmt.Errorf("%w: %s", ErrBelowDeleted, Quote(t.last[:above.length]))
	case above.Type != Directory:
		return fmt.Errorf("%w: %s", ErrNotDirectory, Quote(t.last[:above.length]))
	}
	return nil
}
