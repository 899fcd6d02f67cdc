/* Work on files that a process of the sandbox does, with the sandbox's own view, rights and limits.
 *
 * Names are any bytes, contents are streamed, and whatever links say is followed inside the sandbox only. Only regular
 * files are read and written: a pipe or a device could block or never end. */

#include "native.h"

#include <dirent.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

/* The exit status of a tool is 0 or an error's number; what was wrong is said on standard error. */
static int refuse(const char *what, const char *why, int code) {
	dprintf(2, "%s: %s\n", what, why);
	return code;
}

static int give_up(const char *what) { return refuse(what, strerror(errno), errno); }

static int copy(int from, int to, long long most) {
	static char buffer[1 << 17];
	for (ssize_t got; (got = read(from, buffer, sizeof buffer)) != 0;) {
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -1;
		if ((most -= got) < 0)
			return errno = EFBIG, -1;
		if (!write_all(to, buffer, (size_t)got))
			return -1;
	}
	return 0;
}

static int read_tool(char **arguments) {
	struct stat status;
	int file = open(arguments[0], O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
	if (file < 0 || fstat(file, &status))
		return give_up(arguments[0]);
	if (!S_ISREG(status.st_mode))
		return S_ISDIR(status.st_mode) ? refuse(arguments[0], strerror(EISDIR), EISDIR)
		                                : refuse(arguments[0], "not a regular file", EINVAL);
	return copy(file, 1, strtoll(arguments[1], NULL, 10)) ? give_up(arguments[0]) : 0;
}

static int write_tool(char **arguments) {
	struct stat status;
	mode_t mode = (mode_t)strtol(arguments[1], NULL, 8);
	int file = open(arguments[0], O_WRONLY | O_CREAT | O_NONBLOCK | O_CLOEXEC | O_NOCTTY, mode);
	if (file < 0 || fstat(file, &status))
		return give_up(arguments[0]);
	if (!S_ISREG(status.st_mode))
		return refuse(arguments[0], "not a regular file", EINVAL);
	if (ftruncate(file, 0) || fchmod(file, mode) || copy(0, file, INT64_MAX))
		return give_up(arguments[0]);
	return 0;
}

/* For each entry: type, mode, size, time, name, target, each ended by a NUL. */
static int list_tool(char **arguments) {
	char target[4097];
	DIR *directory = opendir(arguments[0]);
	FILE *out = fdopen(1, "w");
	if (!directory || !out)
		return give_up(arguments[0]);
	errno = 0;
	for (struct dirent *entry; (entry = readdir(directory));) {
		struct stat status;
		if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
			continue;
		if (fstatat(dirfd(directory), entry->d_name, &status, AT_SYMLINK_NOFOLLOW))
			continue;
		ssize_t length = readlinkat(dirfd(directory), entry->d_name, target, sizeof target - 1);
		target[length < 0 ? 0 : length] = 0;
		mode_t type = status.st_mode & S_IFMT;
		fprintf(out, "%c%c%o%c%lld%c%lld%c%s%c%s%c",
		        type == S_IFREG   ? 'f'
		        : type == S_IFDIR ? 'd'
		        : type == S_IFLNK ? 'l'
		                          : 'o',
		        0, status.st_mode & 07777, 0, (long long)status.st_size, 0, (long long)status.st_mtime, 0, entry->d_name, 0,
		        target, 0);
	}
	return fclose(out) ? give_up(arguments[0]) : 0;
}

static int pack_tool(char **arguments) {
	char *path = arguments[0], *end = path + strlen(path);
	while (end > path + 1 && end[-1] == '/')
		*--end = 0;
	char *slash = strrchr(path, '/'), *base = slash ? slash + 1 : path;
	int parent = open(slash == path ? "/" : slash ? (*slash = 0, path) : ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (parent < 0 || faccessat(parent, *base ? base : ".", F_OK, AT_SYMLINK_NOFOLLOW))
		return give_up(arguments[0]);
	if (pack(parent, *base ? base : ".", *base ? base : ".", 1, false) || pack_end(1))
		return give_up(arguments[0]);
	return 0;
}

/* `trusted`: what `pack` wrote in another sandbox, owners and all. */
static int unpack_tool(char **arguments, bool trusted) {
	const struct unpack_rules rules = {strtoll(arguments[1], NULL, 10), strtoll(arguments[2], NULL, 10), trusted, geteuid(),
	                                   getegid()};
	int directory = open(arguments[0], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (directory < 0)
		return give_up(arguments[0]);
	const char *complaint = unpack(0, directory, &rules);
	return complaint ? refuse("the archive was refused", complaint, errno) : 0;
}

/* All that the sandbox has written, for a fork. */
static int export_tool(const struct plan *plan, int count) {
	static const char *const names[] = WRITTEN;
	for (int i = 0; i < count; i++)
		if (pack(plan->written[i], ".", names[i], 1, true))
			return give_up(names[i]);
	return pack_end(1) ? give_up("export") : 0;
}

int run_tool(const struct plan *plan, int count, char **arguments) {
	const char *tool = count ? arguments[0] : "";
	if (!strcmp(tool, "read") && count == 3)
		return read_tool(arguments + 1);
	if (!strcmp(tool, "write") && count == 3)
		return write_tool(arguments + 1);
	if (!strcmp(tool, "list") && count == 2)
		return list_tool(arguments + 1);
	if (!strcmp(tool, "pack") && count == 2)
		return pack_tool(arguments + 1);
	if (!strcmp(tool, "unpack") && count == 4)
		return unpack_tool(arguments + 1, false);
	if (!strcmp(tool, "restore") && count == 4)
		return unpack_tool(arguments + 1, true);
	if (!strcmp(tool, "export") && count == 2)
		return export_tool(plan, atoi(arguments[1]));
	return refuse(tool, "no such tool", ENOSYS);
}
