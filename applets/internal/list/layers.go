package list

import "bytes"

// Held is what one of several layers has of a name.
type Held struct {
	Is        bool // there is something of that name
	Directory bool // and that is what it is
	Implied   bool // but only because of names below it
	Deleted   bool // the name is deleted from the layers below
	Opaque    bool // and this is all that is deleted in the directory
}

// Floors tell which layers can still be seen of a name: those not below the floor of its directory. Its zero value is for
// names in list order, none left out, and each with its directory before it.
type Floors struct {
	last  []byte
	stack []floor // of names that may be above the next one (see Tree)
}

type floor struct{ length, layer int }

// Choose finds the layer, the lowest of which is 0, that name is of when they are unpacked one over another, or -1.
//
// A directory that a layer only implies is as a lower layer has it, if one does.
func (f *Floors) Choose(name []byte, layers []Held) (winner int) {
	seen := f.of(name)
	below := seen // the floor of what is below name
	winner = -1
	for i := len(layers) - 1; i >= seen; i-- {
		h := &layers[i]
		if h.Is && !h.Directory {
			if winner < 0 {
				winner = i
			}
			below = max(below, i+1)
			break
		}
		if h.Is && (winner < 0 || layers[winner].Implied && !h.Implied) {
			winner = i
		}
		if h.Opaque || h.Deleted {
			below = max(below, i)
		}
		if h.Deleted {
			break
		}
	}
	f.last = append(f.last[:0], name...)
	f.stack = append(f.stack, floor{len(name), below})
	return winner
}

// of is the floor of the directory that holds name.
func (f *Floors) of(name []byte) int {
	for n := len(f.stack); n > 0; n-- {
		top := f.stack[n-1].length
		if len(name) > top && bytes.Equal(name[:top], f.last[:top]) && name[top] <= '/' {
			break
		}
		f.stack = f.stack[:n-1]
	}
	for i := len(f.stack) - 1; i >= 0; i-- {
		if top := f.stack[i].length; name[top] == '/' {
			return f.stack[i].layer
		}
	}
	return 0
}
