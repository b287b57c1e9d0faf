//go:build faults

package faults

import (
	"encoding/binary"
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"
)

// filter makes a program that has just been executed stop at those system calls only. To stop at all of them, twice at
// each, takes four times as long. It runs two system calls of the tracer's, prctl(2) and seccomp(2), in the place of the
// program's first instruction.
func filter(pid int, calls []int) error {
	var old syscall.PtraceRegs
	if err := syscall.PtraceGetRegs(pid, &old); err != nil {
		return err
	}
	const instruction = "\x0f\x05" // syscall
	var begin [len(instruction)]byte
	if _, err := syscall.PtracePeekText(pid, uintptr(old.Rip), begin[:]); err != nil {
		return err
	}
	if _, err := syscall.PtracePokeText(pid, uintptr(old.Rip), []byte(instruction)); err != nil {
		return err
	}
	at := old.Rsp - 4096&^15 // below the stack
	program := bpf(calls)
	const size = 8 // of an instruction
	head := binary.LittleEndian.AppendUint64(nil, uint64(len(program)/size))
	head = binary.LittleEndian.AppendUint64(head, at+16)
	if _, err := syscall.PtracePokeData(pid, uintptr(at), append(head, program...)); err != nil {
		return err
	}
	for _, r := range []syscall.PtraceRegs{
		{Rax: unix.SYS_PRCTL, Rdi: unix.PR_SET_NO_NEW_PRIVS, Rsi: 1},
		{Rax: unix.SYS_SECCOMP, Rdi: unix.SECCOMP_SET_MODE_FILTER, Rdx: at},
	} {
		if err := step(pid, old, r); err != nil {
			return err
		}
	}
	if _, err := syscall.PtracePokeText(pid, uintptr(old.Rip), begin[:]); err != nil {
		return err
	}
	return syscall.PtraceSetRegs(pid, &old)
}

// step runs one system call with the arguments in call.
func step(pid int, regs, call syscall.PtraceRegs) error {
	regs.Orig_rax = ^uint64(0) // it is in no call that could be begun again
	regs.Rax, regs.Rdi, regs.Rsi, regs.Rdx, regs.R10, regs.R8 = call.Rax, call.Rdi, call.Rsi, call.Rdx, 0, 0
	if err := syscall.PtraceSetRegs(pid, &regs); err != nil {
		return err
	}
	if err := syscall.PtraceSingleStep(pid); err != nil {
		return err
	}
	var ws syscall.WaitStatus
	if _, err := syscall.Wait4(pid, &ws, unix.WALL, nil); err != nil {
		return err
	}
	if err := syscall.PtraceGetRegs(pid, &regs); err != nil {
		return err
	}
	if regs.Rax != 0 {
		return fmt.Errorf("system call %d: %w", call.Rax, syscall.Errno(-regs.Rax))
	}
	return nil
}

// bpf is a filter that stops at these calls, as an array of struct sock_filter.
func bpf(calls []int) []byte {
	var b []byte
	add := func(code uint16, yes uint8, k uint32) {
		b = binary.LittleEndian.AppendUint16(b, code)
		b = binary.LittleEndian.AppendUint32(append(b, yes, 0), k)
	}
	add(unix.BPF_LD|unix.BPF_W|unix.BPF_ABS, 0, 0) // the number of the call
	for i, call := range calls {
		add(unix.BPF_JMP|unix.BPF_JEQ|unix.BPF_K, uint8(len(calls)-i), uint32(call))
	}
	add(unix.BPF_RET|unix.BPF_K, 0, unix.SECCOMP_RET_ALLOW)
	add(unix.BPF_RET|unix.BPF_K, 0, unix.SECCOMP_RET_TRACE)
	return b
}
