//go:build linux && (amd64 || arm64)

package plan

import (
	"runtime"
	"slices"
	"strconv"
	"unsafe"

	"syscall"
)

// A filterAnswer is what the filter does with a system call.
type filterAnswer uint8

const (
	filterPass    filterAnswer = iota
	filterRefuse               // EPERM
	filterAbsent               // ENOSYS: the caller then does without
	filterPretend              // success without effect, if owners are faked
	filterIoctl                // depends on the second argument
	filterFlags                // depends on the first argument, flags of clone
	filterSocket               // depends on the first argument, an address family
	filterMknod                // depends on the second argument, a mode, if owners are faked
	filterMknodat              // depends on the third argument, a mode, if owners are faked
	filterAnswers
)

// What the C headers call CLONE_NEW*, but for CLONE_NEWTIME, which clone does not know.
const filterNamespaces = cloneNewNS | cloneNewCgroup | cloneNewUTS | cloneNewIPC |
	cloneNewUser | cloneNewPID | cloneNewNet

// Numbers from filterX32 up are system calls of the x32 ABI, which has the same AUDIT_ARCH as amd64. Those from filterARM up are
// private to 32-bit ARM: a program cannot start without set_tls. filterSkip is no call, but one that a tracer has suppressed.
const (
	filterX32  = 0x40000000
	filterARM  = 0xf0000
	filterSkip = 0xffffffff
)

// A filterABI is a way to make system calls: a column of filterRules and the kernel's name for it.
type filterABI struct {
	column int
	audit  uint32
}

// filter is the classic BPF program for seccomp(2) that stands between the sandbox and the kernel; nil where the processor has
// none. It refuses what is not in any namespace or what attackers of the kernel use first, as docker's default profile does; with
// EPERM, because programs cope with that. It adds to dropped capabilities and no_new_privs, and is no substitute for them.
//
// New user namespaces are refused: in one, a program has all capabilities again, and with them the parts of the kernel where
// most of its holes were. So runlocal does not work within runlocal, as it does not within docker.
//
// With fakeChown, changes of owner and identity and the making of device nodes succeed without effect, for installers that
// insist on them.
//
// Programs of the 32-bit sibling of the processor have rules of their own. Their socketcall(2) passes, since the C libraries of
// 386 need it, although its address family is in memory and not seen.
func filter(fakeChown bool) []syscall.SockFilter { return filterFor(runtime.GOARCH, fakeChown) }

func filterFor(goarch string, fakeChown bool) []syscall.SockFilter {
	var native, sibling filterABI
	switch goarch {
	case "amd64":
		native, sibling = filterABI{0, auditArchX86_64}, filterABI{2, auditArchI386}
	case "arm64":
		native, sibling = filterABI{1, auditArchAARCH64}, filterABI{3, auditArchARM}
	default:
		return nil
	}
	const arch = 4 // where struct seccomp_data has the ABI
	var p bpfProgram
	next := p.add(bpfReturn, seccompErrno|uint32(syscall.EPERM))
	for _, abi := range [...]filterABI{sibling, native} {
		calls := p.calls(abi.spans(fakeChown))
		next = p.jump(syscall.BPF_JEQ, abi.audit, calls, next)
	}
	p.add(bpfLoad, arch)
	slices.Reverse(p)
	return p
}

// A filterSpan is a run of numbers with one answer; it ends where the next begins.
type filterSpan struct {
	first  uint32
	answer filterAnswer
}

// spans sorts the rules of one ABI by number, neighbours with the same answer as one.
func (a filterABI) spans(fakeChown bool) []filterSpan {
	var answers [filterLast + 1]filterAnswer
	for i := range filterRules {
		r := &filterRules[i]
		if n := r.numbers[a.column]; n != 0 && (fakeChown || !r.answer.fakes()) {
			answers[n] = r.answer
		}
	}
	spans := []filterSpan{{0, answers[0]}}
	for n, answer := range answers {
		if answer != spans[len(spans)-1].answer {
			spans = append(spans, filterSpan{uint32(n), answer})
		}
	}
	spans = append(spans, filterSpan{filterLast + 1, filterAbsent})
	switch a.audit {
	case auditArchX86_64:
		spans = append(spans, filterSpan{filterX32, filterRefuse})
	case auditArchARM:
		spans = append(spans, filterSpan{filterARM, filterPass})
	}
	return append(spans, filterSpan{filterSkip, filterPass})
}

func (a filterAnswer) fakes() bool {
	return a == filterPretend || a == filterMknod || a == filterMknodat
}

// program is a filter as prctl(2) takes it.
func (p *Plan) program(f []syscall.SockFilter) pointer {
	return pointer{"{" + strconv.Itoa(len(f)) + " instructions}", func(a *arena) uintptr {
		var size = int(unsafe.Sizeof(f[0]))
		code := unsafe.Slice((*syscall.SockFilter)(unsafe.Pointer(&a.room(len(f) * size)[0])), len(f))
		copy(code, f)
		prog := (*syscall.SockFprog)(unsafe.Pointer(&a.room(int(unsafe.Sizeof(syscall.SockFprog{})))[0]))
		prog.Len, prog.Filter = uint16(len(f)), &code[0]
		return uintptr(unsafe.Pointer(prog))
	}}
}
