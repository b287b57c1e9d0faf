//go:build linux && (amd64 || arm64)

package plan

// A filterRule gives one system call its answer. Its numbers are those of amd64, arm64, 386 and arm; 0 is none (what has that
// number, such as read and io_setup, is never filtered).
type filterRule struct {
	name    string
	numbers [4]uint16
	answer  filterAnswer
}

// filterLast is the highest number that was looked at for filterRules. What a later kernel adds is absent from the sandbox.
const filterLast = 471

// filterRules is what differs from an unfiltered kernel; all other calls up to filterLast pass.
var filterRules = [...]filterRule{
	// Keys: the keyrings of a user are not in any namespace.
	{"keyctl", [4]uint16{250, 219, 288, 311}, filterRefuse},
	{"add_key", [4]uint16{248, 217, 286, 309}, filterRefuse},
	{"request_key", [4]uint16{249, 218, 287, 310}, filterRefuse},

	// Machinery of the kernel that is rarely needed and was often broken.
	{"bpf", [4]uint16{321, 280, 357, 386}, filterRefuse},
	{"perf_event_open", [4]uint16{298, 241, 336, 364}, filterRefuse},
	{"userfaultfd", [4]uint16{323, 282, 374, 388}, filterRefuse},
	{"io_uring_setup", [4]uint16{425, 425, 425, 425}, filterRefuse},
	{"io_uring_enter", [4]uint16{426, 426, 426, 426}, filterRefuse},
	{"io_uring_register", [4]uint16{427, 427, 427, 427}, filterRefuse},

	// Code for the kernel itself.
	{"init_module", [4]uint16{175, 105, 128, 128}, filterRefuse},
	{"finit_module", [4]uint16{313, 273, 350, 379}, filterRefuse},
	{"delete_module", [4]uint16{176, 106, 129, 129}, filterRefuse},
	{"kexec_load", [4]uint16{246, 104, 283, 347}, filterRefuse},
	{"kexec_file_load", [4]uint16{320, 294, 0, 401}, filterRefuse},
	{"iopl", [4]uint16{172, 0, 110, 0}, filterRefuse},
	{"ioperm", [4]uint16{173, 0, 101, 0}, filterRefuse},

	// A handle names any file of a file system, also one outside of the root.
	{"open_by_handle_at", [4]uint16{304, 265, 342, 371}, filterRefuse},

	// What belongs to the whole machine: its power, swap, clock, quotas, log, terminals.
	{"reboot", [4]uint16{169, 142, 88, 88}, filterRefuse},
	{"swapon", [4]uint16{167, 224, 87, 87}, filterRefuse},
	{"swapoff", [4]uint16{168, 225, 115, 115}, filterRefuse},
	{"acct", [4]uint16{163, 89, 51, 51}, filterRefuse},
	{"quotactl", [4]uint16{179, 60, 131, 131}, filterRefuse},
	{"quotactl_fd", [4]uint16{443, 443, 443, 443}, filterRefuse},
	{"settimeofday", [4]uint16{164, 170, 79, 79}, filterRefuse},
	{"clock_settime", [4]uint16{227, 112, 264, 262}, filterRefuse},
	{"clock_settime64", [4]uint16{0, 0, 404, 404}, filterRefuse},
	{"stime", [4]uint16{0, 0, 25, 0}, filterRefuse},
	{"syslog", [4]uint16{103, 116, 103, 103}, filterRefuse},
	{"vhangup", [4]uint16{153, 58, 111, 111}, filterRefuse},

	// Memory of other processes, without ptrace's being seen.
	{"process_vm_readv", [4]uint16{310, 270, 347, 376}, filterRefuse},
	{"process_vm_writev", [4]uint16{311, 271, 348, 377}, filterRefuse},

	// Mounts: without CAP_SYS_ADMIN they fail in any case, but only after the kernel has read the arguments.
	{"mount", [4]uint16{165, 40, 21, 21}, filterRefuse},
	{"umount", [4]uint16{0, 0, 22, 0}, filterRefuse},
	{"umount2", [4]uint16{166, 39, 52, 52}, filterRefuse},
	{"pivot_root", [4]uint16{155, 41, 217, 218}, filterRefuse},
	{"open_tree", [4]uint16{428, 428, 428, 428}, filterRefuse},
	{"open_tree_attr", [4]uint16{467, 467, 467, 467}, filterRefuse},
	{"move_mount", [4]uint16{429, 429, 429, 429}, filterRefuse},
	{"fsopen", [4]uint16{430, 430, 430, 430}, filterRefuse},
	{"fsconfig", [4]uint16{431, 431, 431, 431}, filterRefuse},
	{"fsmount", [4]uint16{432, 432, 432, 432}, filterRefuse},
	{"fspick", [4]uint16{433, 433, 433, 433}, filterRefuse},
	{"mount_setattr", [4]uint16{442, 442, 442, 442}, filterRefuse},

	// Namespaces. The flags of clone3 are in memory, which a filter cannot read; libc then falls back to clone.
	{"setns", [4]uint16{308, 268, 346, 375}, filterRefuse},
	{"unshare", [4]uint16{272, 97, 310, 337}, filterFlags},
	{"clone", [4]uint16{56, 220, 120, 120}, filterFlags},
	{"clone3", [4]uint16{435, 435, 435, 435}, filterAbsent},

	// Calls of which only some are refused.
	{"ioctl", [4]uint16{16, 29, 54, 54}, filterIoctl},
	{"socket", [4]uint16{41, 198, 359, 281}, filterSocket},

	// Owners and identities, which a single mapped id does not have.
	{"chown", [4]uint16{92, 0, 182, 182}, filterPretend},
	{"fchown", [4]uint16{93, 55, 95, 95}, filterPretend},
	{"lchown", [4]uint16{94, 0, 16, 16}, filterPretend},
	{"fchownat", [4]uint16{260, 54, 298, 325}, filterPretend},
	{"chown32", [4]uint16{0, 0, 212, 212}, filterPretend},
	{"fchown32", [4]uint16{0, 0, 207, 207}, filterPretend},
	{"lchown32", [4]uint16{0, 0, 198, 198}, filterPretend},
	{"setuid", [4]uint16{105, 146, 23, 23}, filterPretend},
	{"setgid", [4]uint16{106, 144, 46, 46}, filterPretend},
	{"setreuid", [4]uint16{113, 145, 70, 70}, filterPretend},
	{"setregid", [4]uint16{114, 143, 71, 71}, filterPretend},
	{"setresuid", [4]uint16{117, 147, 164, 164}, filterPretend},
	{"setresgid", [4]uint16{119, 149, 170, 170}, filterPretend},
	{"setgroups", [4]uint16{116, 159, 81, 81}, filterPretend},
	{"setfsuid", [4]uint16{122, 151, 138, 138}, filterPretend},
	{"setfsgid", [4]uint16{123, 152, 139, 139}, filterPretend},
	{"setuid32", [4]uint16{0, 0, 213, 213}, filterPretend},
	{"setgid32", [4]uint16{0, 0, 214, 214}, filterPretend},
	{"setreuid32", [4]uint16{0, 0, 203, 203}, filterPretend},
	{"setregid32", [4]uint16{0, 0, 204, 204}, filterPretend},
	{"setresuid32", [4]uint16{0, 0, 208, 208}, filterPretend},
	{"setresgid32", [4]uint16{0, 0, 210, 210}, filterPretend},
	{"setgroups32", [4]uint16{0, 0, 206, 206}, filterPretend},
	{"setfsuid32", [4]uint16{0, 0, 215, 215}, filterPretend},
	{"setfsgid32", [4]uint16{0, 0, 216, 216}, filterPretend},
	{"capset", [4]uint16{126, 91, 185, 185}, filterPretend},

	// Device nodes.
	{"mknod", [4]uint16{133, 0, 14, 14}, filterMknod},
	{"mknodat", [4]uint16{259, 33, 297, 324}, filterMknodat},
}
