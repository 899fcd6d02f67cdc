/* The file systems that are the kernel's own: /proc with what it tells of the machine masked, and a small /dev. */

#include "native.h"

#include <linux/mount.h>
#include <sys/mount.h>
#include <sys/stat.h>

/* What tells about the machine, and (for the day that a mapping is wrong) what would let root change it. */
static const char *const hidden[] = {"kcore",   "keys",       "key-users", "kallsyms", "cmdline",       "modules",
                                     "partitions", "diskstats", "mtrr",      "sysrq-trigger", "timer_list",
                                     "sched_debug", "latency_stats"};
static const char *const emptied[] = {"acpi", "asound", "bus", "fs", "irq", "scsi"};

static const char *const devices[] = {"null", "zero", "full", "random", "urandom", "tty"};
static const char *const links[][2] = {{"fd", "/proc/self/fd"},
                                       {"stdin", "/proc/self/fd/0"},
                                       {"stdout", "/proc/self/fd/1"},
                                       {"stderr", "/proc/self/fd/2"},
                                       {"ptmx", "pts/ptmx"}};

static const char *below(const char *directory, const char *name) {
	static char path[256] SMALL;
	snprintf(path, sizeof path, "root/%s/%s", directory, name);
	return path;
}

void mount_proc(const struct message *request) {
	mount_or_fail("proc", mount_point("proc", true), "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
	const char *most = field(request, "pid_max"); /* where no control group counts processes */
	if (most)
		write_file("root/proc/sys/kernel/pid_max", most); /* each pid namespace has its own since Linux 6.14 */
	for (size_t i = 0; i < LENGTH(hidden); i++)
		if (!access(below("proc", hidden[i]), F_OK))
			mount_or_fail("/dev/null", below("proc", hidden[i]), NULL, MS_BIND, NULL);
	for (size_t i = 0; i < LENGTH(emptied); i++)
		if (!access(below("proc", emptied[i]), F_OK))
			bind_read_only("empty", below("proc", emptied[i]));
	bind_read_only("root/proc/sys", "root/proc/sys");
}

/* While the host's /dev is still in sight. */
void open_devices(int *trees) {
	for (size_t i = 0; i < LENGTH(devices); i++) {
		char path[32];
		snprintf(path, sizeof path, "/dev/%s", devices[i]);
		if ((trees[i] = clone_tree(path, false)) < 0)
			fail(path);
	}
}

void mount_devices(const int *trees) {
	/* A directory of the stage, and not a tmpfs of its own: with every file system that is mounted anywhere, the kernel
	 * takes longer to remove the control group of memory of any sandbox. */
	if (mkdir("dev", 0755))
		fail("dev");
	mount_or_fail("dev", mount_point("dev", true), NULL, MS_BIND, NULL);
	set_attributes(AT_FDCWD, below("dev", ""), MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC, false);
	for (size_t i = 0; i < LENGTH(devices); i++) {
		int file = open(below("dev", devices[i]), O_CREAT | O_CLOEXEC | O_WRONLY, 0666);
		if (file < 0)
			fail(devices[i]);
		close(file);
		attach_tree(trees[i], below("dev", devices[i]));
	}
	for (size_t i = 0; i < LENGTH(links); i++)
		if (symlink(links[i][1], below("dev", links[i][0])))
			fail(links[i][0]);
	if (mkdir(below("dev", "pts"), 0755) || mkdir(below("dev", "shm"), 0755))
		fail("dev/pts");
	mount_or_fail("devpts", below("dev", "pts"), "devpts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666,mode=620");
}
