// Attacks on what the kernel has for the whole machine: namespaces, keys, modules, /proc.
#include "attack.h"

static const struct {
	const char *name;
	int flag;
} spaces[] = {
	{"user", CLONE_NEWUSER}, {"mnt", CLONE_NEWNS}, {"pid", CLONE_NEWPID}, {"net", CLONE_NEWNET}, {"ipc", CLONE_NEWIPC}, {"uts", CLONE_NEWUTS},
	{"cgroup", CLONE_NEWCGROUP},
};

// namespaces would bring all capabilities back, and with them most holes that the kernel has had.
static void namespaces(char **unused)
{
	for (unsigned i = 0; i < sizeof spaces / sizeof *spaces; i++) {
		long pid = syscall(SYS_clone, spaces[i].flag | SIGCHLD, 0, 0, 0, 0);
		if (pid == 0)
			_exit(0);
		say("clone", spaces[i].name, pid);
		say("unshare", spaces[i].name, unshare(spaces[i].flag));
	}
	say("unshare", "user and mnt", unshare(CLONE_NEWUSER | CLONE_NEWNS));
	(void)unused;
}

static void clone_three(char **unused)
{
	struct clone_args args = {.flags = CLONE_NEWUSER, .exit_signal = SIGCHLD};
	long pid = syscall(SYS_clone3, &args, sizeof args);
	if (pid == 0)
		_exit(0);
	say("clone3", "user", pid);
	(void)unused;
}

static void enter(char **pids)
{
	char path[64];
	for (; *pids; pids++) {
		int pidfd = syscall(SYS_pidfd_open, atoi(*pids), 0);
		if (pidfd >= 0)
			say("enter all of", *pids, setns(pidfd, CLONE_NEWUSER | CLONE_NEWNS));
		for (unsigned i = 0; i < sizeof spaces / sizeof *spaces; i++) {
			snprintf(path, sizeof path, "/proc/%s/ns/%s", *pids, spaces[i].name);
			int fd = open(path, O_RDONLY);
			say("enter", path, fd < 0 ? fd : setns(fd, 0));
		}
	}
}

// privileged calls are those of the machine's administrator. Their arguments would not do anything even to him.
static void privileged(char **unused)
{
	static const struct {
		const char *name;
		long number, args[5];
	} calls[] = {
		{"keyctl", SYS_keyctl, {0, -3, 0}}, {"add_key", SYS_add_key, {(long)"user", (long)"ctbox-attack", (long)"x", 1, -1}},
		{"request_key", SYS_request_key, {(long)"user", (long)"ctbox-attack", 0, 0}},
		{"bpf", SYS_bpf, {0, 0, 0}}, {"perf_event_open", SYS_perf_event_open, {0, 0, -1, -1, 0}}, {"userfaultfd", SYS_userfaultfd, {0}},
		{"io_uring_setup", SYS_io_uring_setup, {1, 0}}, {"open_by_handle_at", SYS_open_by_handle_at, {AT_FDCWD, 0, 0}},
		{"init_module", SYS_init_module, {0, 0, (long)""}}, {"finit_module", SYS_finit_module, {-1, (long)"", 0}},
		{"delete_module", SYS_delete_module, {(long)"ctbox-attack", 0}}, {"kexec_load", SYS_kexec_load, {0, 17, 0, 0}},
		{"reboot", SYS_reboot, {0, 0, 0, 0}}, {"swapon", SYS_swapon, {(long)"/nosuch", 0}}, {"swapoff", SYS_swapoff, {(long)"/nosuch"}},
		{"acct", SYS_acct, {(long)"/nosuch"}}, {"quotactl", SYS_quotactl, {-1, 0, 0, 0}}, {"clock_settime", SYS_clock_settime, {0, 0}},
		{"settimeofday", SYS_settimeofday, {0, 1}}, {"syslog", SYS_syslog, {2, 0, 0}}, {"vhangup", SYS_vhangup, {0}},
		{"process_vm_readv", SYS_process_vm_readv, {1, 0, 0, 0, 0}}, {"process_vm_writev", SYS_process_vm_writev, {1, 0, 0, 0, 0}},
	};
	for (unsigned i = 0; i < sizeof calls / sizeof *calls; i++) {
		const long *a = calls[i].args;
		say("call", calls[i].name, syscall(calls[i].number, a[0], a[1], a[2], a[3], a[4]));
	}
	(void)unused;
}

// newkey makes a key of the user, for a minute: something for an attack to find.
static void newkey(char **name)
{
	const long user_keyring = -4, set_timeout = 15;
	long key = syscall(SYS_add_key, "user", *name, "x", 1, user_keyring);
	say("add key", *name, key);
	syscall(SYS_keyctl, set_timeout, key, 60);
}

// walk opens every file below a directory to write, and tells which it could, but for those that begin with a word of except.
static void walk(const char *dir, char **except)
{
	DIR *d = opendir(dir);
	struct dirent *e;
	char path[4096];
	while (d && (e = readdir(d))) {
		snprintf(path, sizeof path, "%s/%s", dir, e->d_name);
		int skip = e->d_name[0] == '.';
		for (char **x = except; *x; x++)
			skip |= !strncmp(path, *x, strlen(*x));
		if (skip)
			continue;
		if (e->d_type == DT_DIR)
			walk(path, except);
		int fd = e->d_type == DT_REG ? open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC) : -1;
		if (fd >= 0) {
			say("writable", path, fd);
			close(fd);
		}
	}
	if (d)
		closedir(d);
}

static void writable(char **args) { walk(args[0], args + 1); }

// leaks looks for words of the host in all that the sandbox is told about its first process and itself. The words are lines of standard
// input: arguments would be found.
static void leaks(char **unused)
{
	static const char *what[] = {
		"environ", "cmdline", "mountinfo", "mounts", "maps", "stat", "status", "cgroup", "comm", "auxv", "exe", "root", "cwd", "fd/0", "fd/1",
		"fd/2", "fd/3", "fd/4", "fd/5", "map_files", "smaps", "sched", "timers", "fdinfo/0", "fdinfo/3",
	};
	static char b[1 << 20], words[10][256];
	char path[128];
	int count = 0;
	while (count < 10 && scanf("%255s", words[count]) == 1)
		count++;
	for (unsigned i = 0; i < 2 * sizeof what / sizeof *what; i++) {
		snprintf(path, sizeof path, "/proc/%s/%s", i % 2 ? "1" : "self", what[i / 2]);
		long n = readlink(path, b, sizeof b);
		if (n < 0)
			n = slurp(path, b, sizeof b);
		for (int w = 0; n > 0 && w < count; w++)
			if (memmem(b, n, words[w], strlen(words[w])))
				printf("%s has %s\n", path, words[w]);
	}
	printf("looked for %d\n", count);
	(void)unused;
}

const struct attack kernel[] = {
	{"namespaces", namespaces}, {"clone3", clone_three}, {"enter", enter}, {"privileged", privileged}, {"newkey", newkey}, {"writable", writable}, {"leaks", leaks},
	{NULL, NULL},
};
