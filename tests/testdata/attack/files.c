// Attacks by way of files: paths, open descriptors, mounts, devices.
#include "attack.h"

// chroot_out: the old ways out of a chroot, each followed by a look at the paths that only the host has.
static void chroot_out(char **paths)
{
	int root = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	char up[4096];
	mkdir("/tmp/nested", 0700);
	if (chroot("/tmp/nested") || fchdir(root))
		say("chroot", "/tmp/nested", -1);
	for (int i = 0; i < 200; i++)
		if (chdir(".."))
			say("chdir", "..", -1);
	for (char **p = paths; *p; p++) {
		snprintf(up, sizeof up, ".%s", *p);
		say("beside", *p, access(up, F_OK));
	}
	if (chroot("."))
		say("chroot", ".", -1);
	for (char **p = paths; *p; p++) {
		say("below", *p, access(*p, F_OK));
		snprintf(up, sizeof up, "/../../../../../../../../../../..%s", *p);
		say("above", *p, access(up, F_OK));
		snprintf(up, sizeof up, "/proc/1/root/../../../../../../../..%s", *p);
		say("root of 1", *p, access(up, F_OK));
		snprintf(up, sizeof up, "/proc/1/cwd/../../../../../../../..%s", *p);
		say("cwd of 1", *p, access(up, F_OK));
	}
}

// descriptors prints what is open from 3 on, and then tries to leave by each directory among all.
static void descriptors(char **paths)
{
	struct stat st;
	for (int fd = 0; fd < 4096; fd++) {
		char link[64], to[4096] = "";
		if (fstat(fd, &st))
			continue;
		snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
		if (readlink(link, to, sizeof to - 1) < 0)
			strcpy(to, "?");
		if (fd > 2)
			say("open", to, 0);
		for (char **p = paths; *p; p++)
			if (!faccessat(fd, *p + 1, F_OK, 0))
				say("through", to, 0);
	}
}

static void cwd(char **paths)
{
	char here[4096];
	if (syscall(SYS_getcwd, here, sizeof here) > 0)
		printf("cwd %s\n", here);
	for (char **p = paths; *p; p++)
		say("from cwd", *p, access(*p, F_OK));
}

// look opens each path to read, put to write. Nothing is read or written.
static void look(char **paths)
{
	for (; *paths; paths++)
		say("read", *paths, open(*paths, O_RDONLY | O_NONBLOCK));
}

static void put(char **paths)
{
	for (; *paths; paths++)
		say("write", *paths, open(*paths, O_WRONLY | O_NONBLOCK));
}

// make creates files, which where all is well stay in the sandbox.
static void make(char **paths)
{
	for (; *paths; paths++)
		say("create", *paths, open(*paths, O_WRONLY | O_CREAT | O_TRUNC, 0666));
}

// devices that can be made are not there to be used.
static void nodes(char **dirs)
{
	char path[4096];
	for (; *dirs; dirs++) {
		snprintf(path, sizeof path, "%s/node", *dirs);
		say("character", path, mknod(path, S_IFCHR | 0666, 1 << 8 | 5));
		say("block", path, mknod(path, S_IFBLK | 0666, 254 << 8));
	}
}

// empty tells of files whether there is nothing in them to be read.
static void empty(char **paths)
{
	char b[1];
	for (; *paths; paths++) {
		long n = slurp(*paths, b, sizeof b);
		printf("%s %s\n", *paths, n < 0 ? strerrorname_np(errno) : n ? "full" : "empty");
	}
}

static void mounts(char **paths)
{
	struct mount_attr attr = {.attr_clr = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOSUID};
	for (; *paths; paths++) {
		say("umount", *paths, umount2(*paths, MNT_DETACH));
		say("remount", *paths, mount("none", *paths, NULL, MS_REMOUNT | MS_BIND, NULL));
		say("remount all", *paths, mount("none", *paths, NULL, MS_REMOUNT, NULL));
		say("set attributes", *paths, syscall(SYS_mount_setattr, AT_FDCWD, *paths, 0, &attr, sizeof attr));
		say("bind", *paths, mount(*paths, "/tmp", NULL, MS_BIND, NULL));
		say("move", *paths, mount(*paths, "/tmp", NULL, MS_MOVE, NULL));
		say("clone tree", *paths, syscall(SYS_open_tree, AT_FDCWD, *paths, 1));
	}
	say("mount", "proc", mount("proc", "/tmp", "proc", 0, NULL));
	say("mount", "sysfs", mount("sysfs", "/tmp", "sysfs", 0, NULL));
	say("mount", "tmpfs", mount("tmpfs", "/tmp", "tmpfs", 0, NULL));
	say("mount", "cgroup", mount("cgroup", "/tmp", "cgroup2", 0, NULL));
	say("open", "tmpfs", syscall(SYS_fsopen, "tmpfs", 0));
	say("pivot_root", "/", syscall(SYS_pivot_root, "/", "/"));
}

// input does to the file that is standard input whatever does not need it to be open for writing.
static void input(char **unused)
{
	const struct timespec times[2] = {{1, 0}, {1, 0}};
	const char *ways[] = {"/proc/self/fd/0", "/dev/stdin", "/dev/fd/0", "/proc/1/fd/0"};
	for (unsigned i = 0; i < sizeof ways / sizeof *ways; i++)
		for (int how = 0; how < 3; how++) {
			int fd = open(ways[i], how == 0 ? O_WRONLY : how == 1 ? O_RDWR : O_WRONLY | O_TRUNC);
			say("open", ways[i], fd);
			if (fd >= 0 && write(fd, "by the sandbox\n", 15) < 0)
				say("write", ways[i], -1);
		}
	say("truncate", "0", ftruncate(0, 0));
	say("chmod", "0", fchmod(0, 04777));
	say("times", "0", futimens(0, times));
	(void)unused;
}

// same compares standard input with what an argument says, as a control that it arrived.
static void same(char **want)
{
	static char b[1 << 20];
	long n, all = 0;
	while ((n = read(0, b + all, sizeof b - all)) > 0)
		all += n;
	puts(all == (long)strlen(*want) && !memcmp(b, *want, all) ? "the same" : "not the same");
}

// fill writes to a new file until that fails, and says how many MiB there was room for.
static void fill(char **path)
{
	static char block[1 << 20];
	int fd = open(*path, O_WRONLY | O_CREAT, 0666), mib = 0;
	memset(block, 1, sizeof block);
	while (mib < 4096 && write(fd, block, sizeof block) == sizeof block)
		mib++;
	say("fill", *path, -1);
	printf("%d MiB\n", mib);
}

const struct attack files[] = {
	{"chroot", chroot_out}, {"descriptors", descriptors}, {"cwd", cwd}, {"look", look}, {"put", put}, {"make", make}, {"nodes", nodes},
	{"empty", empty}, {"mounts", mounts}, {"input", input}, {"same", same}, {"fill", fill}, {NULL, NULL},
};
