package program

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
)

const (
	headLen   = 256 // of a script the kernel reads this much (BINPRM_BUF_SIZE in linux/binfmts.h)
	nesting   = 5   // interpreters that are scripts themselves, as fs/exec.c allows
	binfmt    = "/proc/sys/fs/binfmt_misc/qemu-"
	elfHeader = 64 // bytes; a program needs more
	ptInterp  = 3  // program header: path of the dynamic loader (elf(5))
)

// ErrCarriageReturn is the error for a script whose lines end as those of DOS do.
var ErrCarriageReturn = errors.New("the first line ends in a carriage return")

var (
	errNesting   = errors.New("too many interpreters, each the script of the next")
	errFormat    = errors.New("neither a script nor an ELF program")
	errText      = errors.New("text whose first line does not begin with \"#!\"")
	errTruncated = errors.New("truncated ELF program")
)

// machines are the values of e_machine (elf(5)) by the names that qemu's user emulators have.
var machines = [...]struct {
	machine      uint16
	goarch, name string
}{
	{3, "386", "i386"},
	{8, "mips", "mips"},
	{20, "ppc", "ppc"},
	{21, "ppc64le", "ppc64le"},
	{22, "s390x", "s390x"},
	{40, "arm", "arm"},
	{62, "amd64", "x86_64"},
	{183, "arm64", "aarch64"},
	{243, "riscv64", "riscv64"},
	{258, "loong64", "loongarch64"},
}

// Check returns why the program at path could not start: its script's interpreter or its dynamic loader
// is not there, or it is for another kind of machine. It runs nothing, and does not look for shared libraries.
func Check(path string) error { return check(here{}, path, nesting) }

func check(in tree, path string, depth int) error {
	f, err := in.open(path)
	if errors.Is(err, os.ErrPermission) {
		return nil // it may be executed without being read
	}
	if err != nil {
		return err
	}
	defer f.Close()
	head := make([]byte, headLen)
	n, err := io.ReadFull(f, head)
	if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
		return err
	}
	head = head[:n]
	switch {
	case n == 0:
		return errors.New("empty file")
	case bytes.HasPrefix(head, []byte("#!")):
		return script(in, head, depth)
	case bytes.HasPrefix(head, []byte("\x7fELF")):
		return elf(in, f, head)
	case bytes.IndexByte(head, 0) < 0 && in.shells():
		return nil // text without "#!": shells and execvp(3) hand it to sh
	case bytes.IndexByte(head, 0) < 0:
		return errText
	case runtime.GOOS == "darwin":
		return nil // Mach-O
	}
	return errFormat
}

// Interpreter is the path of what the kernel starts in place of the program in f: the interpreter in the first line of
// a script, or the loader of an ELF program, which is "" if it is static. Whether that is there, and for which
// machine the program is, does not matter. What the kernel would not execute is an error.
func Interpreter(f io.ReaderAt) (string, error) {
	head := make([]byte, headLen)
	n, err := f.ReadAt(head, 0)
	if err != nil && err != io.EOF {
		return "", err
	}
	head = head[:n]
	switch {
	case n == 0:
		return "", errors.New("empty file")
	case bytes.HasPrefix(head, []byte("#!")):
		interpreter, arg, err := firstLine(head)
		if err == nil && strings.HasSuffix(arg, "\r") {
			err = ErrCarriageReturn // shells take it for an option
		}
		return interpreter, err
	case bytes.HasPrefix(head, []byte("\x7fELF")) && n < elfHeader:
		return "", errTruncated
	case bytes.HasPrefix(head, []byte("\x7fELF")):
		return loader(f, head, byteOrder(head))
	}
	return "", errFormat
}

// firstLine reads the line "#! INTERPRETER [ARGUMENT]".
func firstLine(head []byte) (interpreter, arg string, err error) {
	line, _, whole := bytes.Cut(head[2:], []byte("\n"))
	// The kernel ends the interpreter at a tab too, and hands on all the rest as one argument.
	interpreter, arg, _ = strings.Cut(strings.ReplaceAll(strings.Trim(string(line), " \t"), "\t", " "), " ")
	switch {
	case interpreter == "":
		err = errors.New("the first line names no interpreter")
	case !whole && len(head) == headLen && !strings.ContainsAny(string(line), " \t"):
		err = errors.New("the first line is too long")
	case strings.HasSuffix(interpreter, "\r") || strings.HasSuffix(arg, "\r") && filepath.Base(interpreter) == "env":
		err = ErrCarriageReturn
	}
	return interpreter, arg, err
}

// script follows the first line.
func script(in tree, head []byte, depth int) error {
	interpreter, arg, err := firstLine(head)
	switch {
	case depth == 0:
		return errNesting
	case err != nil:
		return err
	}
	if err := in.runnable(interpreter); err != nil {
		return lack{"interpreter", interpreter, err}
	}
	err = checkInterpreter(in, interpreter, depth)
	if err == nil && filepath.Base(interpreter) == "env" {
		return envProgram(in, arg, depth)
	}
	return err
}

func checkInterpreter(in tree, path string, depth int) error {
	err := check(in, path, depth-1)
	if err != nil && err != errNesting {
		return fmt.Errorf("its interpreter %s cannot: %w", path, err)
	}
	return err
}

// envProgram looks for the program that env(1) would start. Options other than -S are left alone.
func envProgram(in tree, arg string, depth int) error {
	for word := range strings.FieldsSeq(strings.TrimPrefix(arg, "-S")) {
		if strings.HasPrefix(word, "-") {
			return nil
		}
		if strings.Contains(word, "=") {
			continue
		}
		path, err := in.look(word)
		if err != nil {
			return lack{"interpreter", word, ErrMissing}
		}
		return checkInterpreter(in, path, depth)
	}
	return nil
}

// elf checks the machine and the loader.
func elf(in tree, f io.ReaderAt, head []byte) error {
	if runtime.GOOS == "darwin" {
		return errors.New("ELF is not this system's format")
	}
	if len(head) < elfHeader {
		return errTruncated
	}
	order := byteOrder(head)
	if err := native(order.Uint16(head[18:])); err != nil {
		return err
	}
	loader, err := loader(f, head, order)
	if err != nil {
		return err
	}
	if loader == "" {
		return nil
	}
	if err := in.exists(loader); err != nil {
		return lack{"loader", loader, err}
	}
	return nil
}

// truncated is what is wrong with a program that could not be read to the end of its headers.
func truncated(err error) error {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return errno
	}
	return errTruncated
}

func byteOrder(head []byte) binary.ByteOrder {
	if head[5] == 2 {
		return binary.BigEndian
	}
	return binary.LittleEndian
}

// native accepts this machine, its 32-bit kin, and what an emulator is registered for (binfmt_misc).
func native(machine uint16) error {
	for _, m := range machines {
		if m.machine != machine {
			continue
		}
		kin := runtime.GOARCH == "amd64" && m.goarch == "386" || runtime.GOARCH == "arm64" && m.goarch == "arm"
		if m.goarch == runtime.GOARCH || kin || exists(binfmt+m.name) {
			return nil
		}
		return fmt.Errorf("it is for %s machines", m.name)
	}
	return fmt.Errorf("it is for another machine (ELF number %d)", machine)
}

// loader reads the path in the program header of type PT_INTERP; "" means a static program.
func loader(f io.ReaderAt, head []byte, order binary.ByteOrder) (string, error) {
	wide := head[4] == 2
	phoff, size, count := int64(order.Uint32(head[28:])), order.Uint16(head[42:]), order.Uint16(head[44:])
	if wide {
		phoff, size, count = int64(order.Uint64(head[32:])), order.Uint16(head[54:]), order.Uint16(head[56:])
	}
	entry := make([]byte, max(56, int(size)))
	for i := range int64(count) {
		if _, err := f.ReadAt(entry[:size], phoff+i*int64(size)); err != nil {
			return "", truncated(err)
		}
		if order.Uint32(entry) != ptInterp {
			continue
		}
		off, n := int64(order.Uint32(entry[4:])), uint64(order.Uint32(entry[16:]))
		if wide {
			off, n = int64(order.Uint64(entry[8:])), order.Uint64(entry[32:])
		}
		path := make([]byte, min(n, 4096)) // PATH_MAX
		if _, err := f.ReadAt(path, off); err != nil {
			return "", truncated(err)
		}
		path, _, _ = bytes.Cut(path, []byte{0})
		return string(path), nil
	}
	return "", nil
}
