//go:build linux && (amd64 || arm64)

package plan

import "syscall"

const (
	bpfLoad   = syscall.BPF_LD | syscall.BPF_W | syscall.BPF_ABS
	bpfAnd    = syscall.BPF_ALU | syscall.BPF_AND | syscall.BPF_K
	bpfReturn = syscall.BPF_RET | syscall.BPF_K
)

// A bpfProgram is written from its end to its start: jumps only go forward, so where they go to is already there.
// Positions count from the end. A jump reaches 255 instructions; the tests would see one that does not.
type bpfProgram []syscall.SockFilter

// add puts an instruction before the others and returns its position. Inlined at its 20 calls it would be 3 KB.
//
//go:noinline
func (p *bpfProgram) add(code uint16, k uint32) int {
	*p = append(*p, syscall.SockFilter{Code: code, K: k})
	return len(*p) - 1
}

// jump adds a comparison of the accumulator with k.
func (p *bpfProgram) jump(compare uint16, k uint32, yes, no int) int {
	here := p.add(syscall.BPF_JMP|syscall.BPF_K|compare, k)
	(*p)[here].Jt, (*p)[here].Jf = uint8(here-yes-1), uint8(here-no-1)
	return here
}

// jumpAny jumps if the accumulator is one of ks.
func (p *bpfProgram) jumpAny(ks []uint32, yes, no int) int {
	for _, k := range ks {
		no = p.jump(syscall.BPF_JEQ, k, yes, no)
	}
	return no
}

// calls adds what answers the system calls of one ABI.
func (p *bpfProgram) calls(spans []filterSpan) int {
	const number = 0 // where struct seccomp_data has the number of the call
	var at [filterAnswers]int
	at[filterPass] = p.add(bpfReturn, seccompAllow)
	at[filterRefuse] = p.fail(syscall.EPERM)
	at[filterAbsent] = p.fail(syscall.ENOSYS)
	at[filterPretend] = p.fail(0)
	pass, refuse, pretend := at[filterPass], at[filterRefuse], at[filterPretend]

	devices := []uint32{syscall.S_IFCHR, syscall.S_IFBLK}
	p.jumpAny(devices, pretend, pass)
	p.add(bpfAnd, syscall.S_IFMT)
	at[filterMknod] = p.argument(1)
	p.jumpAny(devices, pretend, pass)
	p.add(bpfAnd, syscall.S_IFMT)
	at[filterMknodat] = p.argument(2)

	// Both reach what no namespace divides: the kernel's ciphers, a machine's host or guests.
	p.jumpAny([]uint32{syscall.AF_ALG, afVsock}, p.fail(syscall.EAFNOSUPPORT), pass)
	at[filterSocket] = p.argument(0)
	p.jump(syscall.BPF_JSET, filterNamespaces, refuse, pass)
	at[filterFlags] = p.argument(0)
	// Both would type into the terminal outside.
	p.jumpAny([]uint32{syscall.TIOCSTI, syscall.TIOCLINUX}, refuse, pass)
	at[filterIoctl] = p.argument(1)

	p.search(spans, &at)
	return p.add(bpfLoad, number)
}

func (p *bpfProgram) fail(errno syscall.Errno) int {
	return p.add(bpfReturn, seccompErrno|uint32(errno))
}

// argument loads the low 32 bits of an argument: the kernel, too, ignores the others where it takes an int (CVE-2019-10063).
func (p *bpfProgram) argument(n uint32) int { return p.add(bpfLoad, 16+8*n) }

// search adds a binary search for the accumulator in spans: seven comparisons for a hundred.
func (p *bpfProgram) search(spans []filterSpan, at *[filterAnswers]int) int {
	if len(spans) == 1 {
		return at[spans[0].answer]
	}
	half := len(spans) / 2
	high := p.search(spans[half:], at)
	low := p.search(spans[:half], at)
	return p.jump(syscall.BPF_JGE, spans[half].first, high, low)
}
