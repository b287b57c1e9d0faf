package list

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
type Floors struct{ tree Tree }

// Choose finds the layer, the lowest of which is 0, that name is of when they are unpacked one over another, or -1.
//
// A directory that a layer only implies is as a lower layer has it, if one does.
func (f *Floors) Choose(name []byte, layers []Held) (winner int) {
	f.tree.Advance(name, nil)
	seen := 0
	if above := f.tree.Above(); above != nil {
		seen = above.floor
	}
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
	f.tree.Push(Node{floor: below})
	return winner
}
