// What the files of this program share; see attack.c.
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

// An attack gets the arguments after its name, which end with NULL.
struct attack {
	const char *name;
	void (*run)(char **);
};

extern const struct attack files[], kernel[], others[];

// say prints a line: what was tried, and "ok" or the name of the error.
void say(const char *what, const char *which, long result);

// slurp reads at most size bytes of a file and returns how many it had, or -1.
long slurp(const char *path, char *b, long size);
