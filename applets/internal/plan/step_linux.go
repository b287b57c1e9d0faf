//go:build linux && (amd64 || arm64)

package plan

import (
	"slices"
	"strconv"
	"syscall"
)

// A step is one system call of the plan.
type step struct {
	name   string // what an error message calls it: "mount proc"
	call   call
	args   []any           // int, flags, string, []byte, slot or pointer
	accept []syscall.Errno // these do not matter
	save   slot            // where the result goes
	exact  bool            // the result must be want
	want   uintptr
}

// A call is a system call, by name and number.
type call struct {
	name string
	nr   uintptr
}

// A slot is a place for a result, an open file for example, that later steps use. 0 is no slot.
type slot int

// flags print in hexadecimal, and namespaces by name.
type (
	flags      uintptr
	namespaces flags
)

// A pointer is a structure that is laid out in the memory that parent and child share; it prints as its text.
type pointer struct {
	text string
	make func(*arena) uintptr
}

// or adds errors that do not matter.
func (s *step) or(accept ...syscall.Errno) *step {
	s.accept = append(s.accept, accept...)
	return s
}

// to keeps the result.
func (s *step) to(place slot) *step {
	s.save = place
	return s
}

// gives demands a result.
func (s *step) gives(want uintptr) *step {
	s.exact, s.want = true, want
	return s
}

// String is the step as strace(1) would show it.
func (s *step) String() string {
	text := append([]byte(s.name), ": "+s.call.name+"("...)
	for i, arg := range s.args {
		if i > 0 {
			text = append(text, ", "...)
		}
		text = append(text, argumentText(arg)...)
	}
	text = append(text, ')')
	if s.save != 0 {
		text = append(text, " = "+argumentText(s.save)...)
	}
	return string(text)
}

func argumentText(arg any) string {
	switch arg := arg.(type) {
	case string:
		return strconv.Quote(arg)
	case []byte:
		return strconv.Quote(string(arg))
	case namespaces:
		return namespacesText(flags(arg))
	case flags:
		return "0x" + strconv.FormatUint(uint64(arg), 16)
	case slot:
		return "fd" + strconv.Itoa(int(arg))
	case pointer:
		return arg.text
	}
	return strconv.Itoa(arg.(int))
}

func quoteAll(all []string) string {
	text := []byte{'['}
	for i, s := range all {
		if i > 0 {
			text = append(text, ' ')
		}
		text = strconv.AppendQuote(text, s)
	}
	return string(append(text, ']'))
}

// String is the plan, a line for each step. Of several that differ in a number the first stands for all.
func (p *Plan) String() string {
	text := []byte(StepClone + ": clone(" + namespacesText(p.clone|clonePIDFD) + "|SIGCHLD)\n")
	for i := 0; i < len(p.steps); {
		s, more := p.steps[i], 0
		for i++; i < len(p.steps) && p.steps[i].name == s.name && p.steps[i].call == s.call && s.name != StepExec; i++ {
			more++
		}
		text = append(text, s.String()...)
		if more > 0 {
			text = append(text, " and "+strconv.Itoa(more)+" more"...)
		}
		text = append(text, '\n')
	}
	return string(text)
}

// namespaceNames are flags of clone(2) and unshare(2).
var namespaceNames = [...]struct {
	flag flags
	name string
}{
	{cloneNewUser, "CLONE_NEWUSER"}, {cloneNewNS, "CLONE_NEWNS"}, {cloneNewPID, "CLONE_NEWPID"},
	{cloneNewUTS, "CLONE_NEWUTS"}, {cloneNewIPC, "CLONE_NEWIPC"}, {cloneNewCgroup, "CLONE_NEWCGROUP"},
	{cloneNewNet, "CLONE_NEWNET"}, {clonePIDFD, "CLONE_PIDFD"},
}

// namespacesText prints those flags by name.
func namespacesText(f flags) string {
	var text []byte
	for _, n := range namespaceNames {
		if f&n.flag != 0 {
			text = append(text, "|"+n.name...)
		}
	}
	return string(text[min(1, len(text)):])
}

// accepts says whether an error does not matter.
func (s *step) accepts(e syscall.Errno) bool { return slices.Contains(s.accept, e) }
