// Command attack is the /init of a sandbox and tries to get out. It is called as "attack NAME [ARG]...", without a name as "attack up",
// and prints a line for each attempt. What it tries must do no harm where it succeeds: it opens and does not write.
#include "attack.h"

void say(const char *what, const char *which, long result)
{
	printf("%s %s %s\n", what, which, result == -1 ? strerrorname_np(errno) : "ok");
}

long slurp(const char *path, char *b, long size)
{
	int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	long n = 0, more = 1;
	if (fd < 0)
		return -1;
	while (n < size && more > 0) {
		more = read(fd, b + n, size - n);
		n += more > 0 ? more : 0;
	}
	close(fd);
	return n > 0 ? n : more;
}

static void (*find(const struct attack *all, const char *name))(char **)
{
	for (; all->name; all++)
		if (!strcmp(all->name, name))
			return all->run;
	return NULL;
}

int main(int argc, char **argv)
{
	const char *name = argc > 1 ? argv[1] : "up";
	void (*run)(char **);
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (!(run = find(files, name)) && !(run = find(kernel, name)) && !(run = find(others, name))) {
		fprintf(stderr, "attack: no attack is called %s\n", name);
		return 99;
	}
	run(argv + (argc > 1 ? 2 : 1));
	return 0;
}
