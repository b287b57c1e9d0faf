/* timer ROUNDS WARMUPS OUT -- COMMAND... [-- COMMAND...]...
 *
 * Run the commands in turn, ROUNDS times after WARMUPS for nothing, and print a line for each run: the command's number, from 1,
 * nanoseconds from start to exit, and the peak resident memory in KiB of the largest process among it and what it waited for.
 * Standard output of command N goes to the file OUT.N, anew each time. Where BEFORE is set, sh runs it before each run, with N
 * as $1, and its time is nobody's. A command that fails ends everything with status 1.
 *
 * posix_spawn(3) takes 0.1 ms whatever the size of the caller, and a small caller leaves the peak of a small command as it is; a
 * shell or Python would add to both. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>

enum { MOST = 32 };

extern char **environ;

static void die(const char *what)
{
	fprintf(stderr, "timer: %s failed\n", what);
	exit(1);
}

static void before(int number)
{
	char n[12];
	char *command[] = {"sh", "-euc", getenv("BEFORE"), "before", n, NULL};
	posix_spawn_file_actions_t files;
	pid_t pid;
	int status;
	if (!command[2])
		return;
	snprintf(n, sizeof n, "%d", number);
	posix_spawn_file_actions_init(&files);
	posix_spawn_file_actions_addopen(&files, 1, "/dev/null", O_WRONLY, 0);
	if (posix_spawnp(&pid, *command, &files, NULL, command, environ) || waitpid(pid, &status, 0) != pid || status)
		die("BEFORE");
	posix_spawn_file_actions_destroy(&files);
}

static void run(char **command, int number, const char *out, int count)
{
	struct timespec begin, end;
	struct rusage used;
	posix_spawn_file_actions_t files;
	char name[4096];
	pid_t pid;
	int status;
	before(number);
	snprintf(name, sizeof name, "%s.%d", out, number);
	posix_spawn_file_actions_init(&files);
	posix_spawn_file_actions_addopen(&files, 1, name, O_WRONLY | O_CREAT | O_TRUNC, 0666);
	clock_gettime(CLOCK_MONOTONIC, &begin);
	if (posix_spawnp(&pid, *command, &files, NULL, command, environ) || wait4(pid, &status, 0, &used) != pid || status)
		die(*command);
	clock_gettime(CLOCK_MONOTONIC, &end);
	posix_spawn_file_actions_destroy(&files);
	if (count)
		printf("%d %lld %ld\n", number, (end.tv_sec - begin.tv_sec) * 1000000000LL + end.tv_nsec - begin.tv_nsec, used.ru_maxrss);
}

int main(int argc, char **argv)
{
	char **commands[MOST];
	int n = 0;
	for (int i = 4; i < argc && n < MOST; i++)
		if (!strcmp(argv[i], "--")) {
			argv[i] = NULL;
			commands[n++] = argv + i + 1;
		}
	if (!n)
		die("usage");
	/* Whoever comes second may find caches warmer or memory fuller: so it is not always the same. */
	for (int round = -atoi(argv[2]); round < atoi(argv[1]); round++)
		for (int i = 0; i < n; i++) {
			int at = round & 1 ? n - 1 - i : i;
			run(commands[at], at + 1, argv[3], round >= 0);
		}
}
