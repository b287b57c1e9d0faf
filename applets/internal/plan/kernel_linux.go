//go:build linux && (amd64 || arm64)

package plan

// What package syscall lacks, from the kernel's include/uapi/linux. Package unix has it all, but is initialised late (early_linux.go);
// a test compares.
const (
	sysPidfdSendSignal = 424 // the same on every architecture, as all newer ones
	sysOpenTree        = 428
	sysMoveMount       = 429
	sysCloseRange      = 436
	sysOpenat2         = 437
	sysMountSetattr    = 442

	cloneNewNS     = 0x20000
	cloneNewCgroup = 0x2000000
	cloneNewUTS    = 0x4000000
	cloneNewIPC    = 0x8000000
	cloneNewUser   = 0x10000000
	cloneNewPID    = 0x20000000
	cloneNewNet    = 0x40000000
	clonePIDFD     = 0x1000

	oPath               = 0x200000
	atRecursive         = 0x8000
	atEmptyPath         = 0x1000
	openTreeClone       = 1
	openTreeCloexec     = 0x80000
	moveMountEmptyPath  = 4
	resolveNoMagiclinks = 2
	prSetPdeathsig      = 1
	prSetSeccomp        = 22
	prCapbsetDrop       = 24
	prCapAmbient        = 47
	prCapAmbientRaise   = 2
	prSetNoNewPrivs     = 38
	seccompModeFilter   = 2
	sigSetmask          = 2
	stRelatime          = 0x1000

	seccompAllow     = 0x7fff0000
	seccompErrno     = 0x50000
	auditArchI386    = 0x40000003
	auditArchX86_64  = 0xc000003e
	auditArchARM     = 0x40000028
	auditArchAARCH64 = 0xc00000b7
	afVsock          = 40
	capVersion3      = 0x20080522
	pollOut          = 4
	pollIn           = 1
	pPIDFD           = 3
	cldExited        = 1
	rlimitNproc      = 6

	capChown          = 0
	capDacOverride    = 1
	capDacReadSearch  = 2
	capFowner         = 3
	capFsetid         = 4
	capKill           = 5
	capSetgid         = 6
	capSetuid         = 7
	capSetpcap        = 8
	capNetBindService = 10
	capNetRaw         = 13
	capSysChroot      = 18
	capMknod          = 27
	capAuditWrite     = 29
	capSetfcap        = 31
)
