// Attacks on other processes of the host, its terminal, and its patience.
#include "attack.h"
#include <stddef.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <termios.h>

static void up(char **unused)
{
	puts("up");
	(void)unused;
}

// process tries what one process can do to another.
static void process(char **pids)
{
	char path[64];
	for (; *pids; pids++) {
		int pid = atoi(*pids);
		say("signal", *pids, kill(pid, 0));
		say("signal the group of", *pids, kill(-pid, 0));
		say("take hold of", *pids, syscall(SYS_pidfd_open, pid, 0));
		say("attach to", *pids, ptrace(PTRACE_ATTACH, pid, 0, 0));
		say("seize", *pids, ptrace(PTRACE_SEIZE, pid, 0, 0));
		say("slow", *pids, syscall(SYS_ioprio_set, 1, pid, 0));
		for (const char **f = (const char *[]){"mem", "environ", "root", "cwd", "fd", NULL}; *f; f++) {
			snprintf(path, sizeof path, "/proc/%s/%s", *pids, *f);
			say("open", path, open(path, O_RDONLY));
		}
	}
	printf("parent %d\n", getppid());
}

// everyone is killed, but for init.
static void everyone(char **unused)
{
	int status = 0, child = fork();
	if (child == 0) {
		pause();
		_exit(0);
	}
	say("kill", "everyone", kill(-1, SIGKILL));
	say("wait", "child", waitpid(child, &status, 0));
	printf("child died of %d\n", WTERMSIG(status));
	(void)unused;
}

static void sysv(char **keys)
{
	for (; *keys; keys++) {
		key_t key = strtol(*keys, NULL, 0);
		say("messages", *keys, msgget(key, 0));
		say("semaphores", *keys, semget(key, 0, 0));
		say("memory", *keys, shmget(key, 0, 0));
	}
}

static void abstract(char **names)
{
	for (; *names; names++) {
		struct sockaddr_un a = {.sun_family = AF_UNIX};
		strncpy(a.sun_path + 1, *names, sizeof a.sun_path - 2);
		say("connect", *names, connect(socket(AF_UNIX, SOCK_STREAM, 0), (void *)&a,
			offsetof(struct sockaddr_un, sun_path) + 1 + strlen(*names)));
	}
}

static void families(char **unused)
{
	say("socket", "AF_VSOCK", socket(AF_VSOCK, SOCK_STREAM, 0));
	say("socket", "AF_ALG", socket(AF_ALG, SOCK_SEQPACKET, 0));
	(void)unused;
}

// type would have the host's shell read a command. The C library passes all 64 bits of the request on.
static void type(int fd, const char *name)
{
	static const unsigned long high[] = {0, 1UL << 32, 0xffffffffUL << 32};
	char c = '#', paste = 3;
	for (unsigned i = 0; i < sizeof high / sizeof *high; i++) {
		say("TIOCSTI", name, syscall(SYS_ioctl, fd, TIOCSTI | high[i], &c));
		say("TIOCLINUX", name, syscall(SYS_ioctl, fd, TIOCLINUX | high[i], &paste));
	}
}

static void terminal(char **unused)
{
	static const char *names[] = {"/dev/tty", "/dev/console", "/proc/self/fd/0", "/proc/self/fd/1", "/dev/stderr"};
	char number[2] = "0";
	for (int fd = 0; fd < 3; fd++) {
		number[0] = '0' + fd;
		type(fd, number);
		ioctl(fd, TIOCSCTTY, 0);
		type(fd, number);
	}
	for (unsigned i = 0; i < sizeof names / sizeof *names; i++) {
		int fd = open(names[i], O_RDWR);
		if (fd >= 0)
			type(fd, names[i]);
	}
	(void)unused;
}

// setuid runs programs and lets each say who it is.
static void setuid_programs(char **paths)
{
	for (; *paths; paths++) {
		int status;
		if (fork() == 0) {
			execl(*paths, *paths, "who", NULL);
			say("exec", *paths, -1);
			_exit(0);
		}
		wait(&status);
	}
}

static void who(char **unused)
{
	char b[4096] = "", *caps;
	slurp("/proc/self/status", b, sizeof b - 1);
	caps = strstr(b, "CapEff:\t");
	printf("uid %d gid %d no_new_privs %d capabilities %.16s\n", geteuid(), getegid(), prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0), caps ? caps + 8 : "");
	(void)unused;
}

// signals prints which are blocked, and which ignored.
static void signals(char **unused)
{
	char b[4096] = "", *lines;
	slurp("/proc/self/status", b, sizeof b - 1);
	if ((lines = strstr(b, "SigBlk:")))
		printf("%.50s", lines);
	(void)unused;
}

// bomb forks until that fails. The children stay.
static void bomb(char **most)
{
	int n = 0, max = atoi(*most);
	pid_t pid = 0;
	while (n < max && (pid = fork()) > 0)
		n++;
	if (pid == 0 && max > 0)
		for (;;)
			pause();
	say("fork", "once more", pid);
	printf("%d children\n", n);
}

const struct attack others[] = {
	{"up", up}, {"process", process}, {"everyone", everyone}, {"sysv", sysv}, {"abstract", abstract}, {"families", families}, {"terminal", terminal},
	{"setuid", setuid_programs}, {"who", who}, {"signals", signals}, {"bomb", bomb}, {NULL, NULL},
};
