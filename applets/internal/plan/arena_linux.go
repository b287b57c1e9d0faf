//go:build linux && (amd64 || arm64)

package plan

import (
	"errors"
	"syscall"
	"unsafe"
)

// An arena is memory that parent and child share: the parent puts the plan there, the child what went wrong. It lies outside
// of Go's heap, so the addresses in it stay good, and execve(2) takes it from the child.
type arena struct {
	mem  []byte
	used int
}

// An op is a step in the form that the child runs.
type op struct {
	call   uintptr
	args   [6]uintptr
	want   uintptr
	result uintptr // the child's answer
	save   uint8   // slot for the result, or 0
	load   uint8   // bit i: args[i] is the slot that holds the argument
	exact  bool
	done   bool      // the child came this far
	errno  uint16    // and this is what it met
	accept [3]uint16 // error numbers
}

const (
	wordSize  = unsafe.Sizeof(uintptr(0))
	slots     = 64
	arenaSize = 8 << 20 // arguments and environment may be 6 MiB (_STK_LIM*3/4 in fs/exec.c); pages cost when they are used
)

var errArena = errors.New("arguments and environment are too long")

func newArena() (*arena, error) {
	mem, err := syscall.Mmap(-1, 0, arenaSize, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED|syscall.MAP_ANONYMOUS|syscall.MAP_NORESERVE)
	if err != nil {
		return nil, err
	}
	return &arena{mem: mem, used: slots * int(wordSize)}, nil
}

func (a *arena) free() { syscall.Munmap(a.mem) }

func (a *arena) results() *[slots]uintptr { return (*[slots]uintptr)(unsafe.Pointer(&a.mem[0])) }

// room sets n bytes aside; if there are none it panics with errArena, which compile recovers.
func (a *arena) room(n int) []byte {
	start := (a.used + int(wordSize) - 1) &^ (int(wordSize) - 1)
	if start+n > len(a.mem) {
		panic(errArena)
	}
	a.used = start + n
	return a.mem[start : start+n : start+n]
}

// bytes copies b and returns its address.
func (a *arena) bytes(b []byte) uintptr {
	m := a.room(max(len(b), 1))
	copy(m, b)
	return uintptr(unsafe.Pointer(&m[0]))
}

func (a *arena) string(s string) uintptr {
	m := a.room(len(s) + 1)
	copy(m, s)
	m[len(s)] = 0
	return uintptr(unsafe.Pointer(&m[0]))
}

// words is an array of addresses or numbers.
func (a *arena) words(values ...uintptr) uintptr {
	m := a.room(len(values) * int(wordSize))
	copy(unsafe.Slice((*uintptr)(unsafe.Pointer(&m[0])), len(values)), values)
	return uintptr(unsafe.Pointer(&m[0]))
}

// strings is an array as execve(2) wants it.
func (a *arena) strings(all []string) uintptr {
	list := make([]uintptr, 0, len(all)+1)
	for _, s := range all {
		list = append(list, a.string(s))
	}
	return a.words(append(list, 0)...)
}

// compile lays out the plan.
func (a *arena) compile(steps []*step) (ops []op, err error) {
	defer func() {
		if r := recover(); r != nil {
			if r != errArena {
				panic(r)
			}
			err = errArena
		}
	}()
	m := a.room(len(steps) * int(unsafe.Sizeof(op{})))
	ops = unsafe.Slice((*op)(unsafe.Pointer(&m[0])), len(steps))
	for i, s := range steps {
		a.compileStep(&ops[i], s)
	}
	return ops, nil
}

func (a *arena) compileStep(o *op, s *step) {
	*o = op{call: s.call.nr, want: s.want, exact: s.exact, save: uint8(s.save)}
	for i, arg := range s.args {
		o.args[i] = a.argument(arg)
		if _, load := arg.(slot); load {
			o.load |= 1 << i
		}
	}
	for i, e := range s.accept {
		o.accept[i] = uint16(e)
	}
}

func (a *arena) argument(arg any) uintptr {
	switch arg := arg.(type) {
	case int:
		return uintptr(arg)
	case flags:
		return uintptr(arg)
	case namespaces:
		return uintptr(arg)
	case slot:
		return uintptr(arg)
	case string:
		return a.string(arg)
	case []byte:
		return a.bytes(arg)
	case pointer:
		return arg.make(a)
	}
	panic("plan: an argument of no known type")
}
