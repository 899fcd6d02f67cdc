/* Which users exist in a sandbox.
 *
 * As root, each sandbox gets a range of ids that nobody on the machine has, and the image's layers are mounted with
 * the same mapping, so that root in the sandbox owns what root owns in the image. As an ordinary user, root in the
 * sandbox is that user and there is nobody else; a process that is to run as somebody else does so in one more user
 * namespace, where the same single id has the other's number. */

#include "native.h"

#include <ctype.h>
#include <grp.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/stat.h>

bool write_file(const char *path, const char *text) {
	int descriptor = open(path, O_WRONLY | O_CLOEXEC);
	if (descriptor < 0)
		return false;
	bool good = write(descriptor, text, strlen(text)) == (ssize_t)strlen(text);
	int code = errno;
	close(descriptor);
	errno = code;
	return good;
}

/* Read a regular file whole, ended by a NUL; -1 where it is not one or does not fit. */
ssize_t read_file(const char *path, char *buffer, size_t size) {
	struct stat status;
	int descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (descriptor < 0)
		return -1;
	size_t used = 0;
	ssize_t got = -1;
	if (!fstat(descriptor, &status) && S_ISREG(status.st_mode))
		while (used < size - 1 && (got = read(descriptor, buffer + used, size - 1 - used)) > 0)
			used += (size_t)got;
	close(descriptor);
	buffer[used] = 0;
	return got < 0 ? -1 : (ssize_t)used;
}

bool write_maps(pid_t pid, long long base) {
	char path[64], line[64];
	bool privileged = base > 0;
	if (!privileged) {
		snprintf(path, sizeof path, "/proc/%d/setgroups", pid);
		if (!write_file(path, "deny"))
			return false;
	}
	snprintf(path, sizeof path, "/proc/%d/uid_map", pid);
	snprintf(line, sizeof line, "0 %lld %d", privileged ? base : geteuid(), privileged ? ID_RANGE : 1);
	if (!write_file(path, line))
		return false;
	snprintf(path, sizeof path, "/proc/%d/gid_map", pid);
	snprintf(line, sizeof line, "0 %lld %d", privileged ? base : getegid(), privileged ? ID_RANGE : 1);
	return write_file(path, line);
}

bool many_ids(void) {
	static int known = -1;
	char text[128];
	long inside, outside, count;
	if (known < 0)
		known = read_file("/proc/self/uid_map", text, sizeof text) > 0 &&
		        sscanf(text, "%ld %ld %ld", &inside, &outside, &count) == 3 && count > 1;
	return known;
}

void become_root(void) {
	if (many_ids() && setgroups(0, NULL))
		fail("setgroups");
	if (setresgid(0, 0, 0) || setresuid(0, 0, 0))
		fail("become the sandbox's root");
}

bool become(const struct user *user) {
	char line[64];
	if (many_ids())
		return !setgroups((size_t)user->group_count, user->groups) && !setresgid(user->gid, user->gid, user->gid) &&
		       !setresuid(user->uid, user->uid, user->uid);
	if (!user->uid)
		return true;
	if (unshare(CLONE_NEWUSER))
		return false;
	snprintf(line, sizeof line, "%u 0 1", user->uid);
	if (!write_file("/proc/self/uid_map", line))
		return false;
	snprintf(line, sizeof line, "%u 0 1", user->gid);
	return write_file("/proc/self/gid_map", line);
}

/* Split a line of passwd or group at its colons; how many fields there were. The next line is put in `rest`. */
static int split(char *line, char **fields, int most, char **rest) {
	int count = 0;
	char *end = strchr(line, '\n');
	*rest = end ? end + 1 : NULL;
	if (end)
		*end = 0;
	for (char *at = line; at && count < most; count++) {
		fields[count] = at;
		if ((at = strchr(at, ':')))
			*at++ = 0;
	}
	return count;
}

static bool all_digits(const char *text) {
	if (!*text || strlen(text) > 9)
		return false;
	for (; *text; text++)
		if (!isdigit((unsigned char)*text))
			return false;
	return true;
}

static void find_groups(const char *name, char *text, struct user *user) {
	char *fields[4];
	for (char *line = text, *rest; line; line = rest) {
		if (split(line, fields, 4, &rest) < 4 || !all_digits(fields[2]))
			continue;
		for (char *member = strtok(fields[3], ","); member; member = strtok(NULL, ","))
			if (!strcmp(member, name) && user->group_count < (int)LENGTH(user->groups))
				user->groups[user->group_count++] = (gid_t)atol(fields[2]);
	}
}

const char *look_up(const char *name, struct user *user) {
	bool root = !strcmp(name, "root"); /* is there whatever an agent does to the file */
	size_t size = 1 << 18;
	char given[128], *fields[7], *text = malloc(size);
	memset(user, 0, sizeof *user);
	snprintf(given, sizeof given, "%s", name);
	char *gid = strchr(given, ':');
	if (gid)
		*gid++ = 0;
	bool numeric = all_digits(given) && (!gid || all_digits(gid)), found = false;
	strcpy(user->home, root ? "/root" : "/");
	if (numeric)
		user->uid = (uid_t)atol(given), user->gid = (gid_t)atol(gid ? gid : given);
	if (!text || read_file("/etc/passwd", text, size) < 0) {
		free(text);
		return numeric || root ? NULL : "the image has no /etc/passwd";
	}
	for (char *line = text, *rest; line && !found && !(numeric && gid); line = rest) {
		if (split(line, fields, 7, &rest) < 7 || !all_digits(fields[2]) || !all_digits(fields[3]))
			continue;
		if (strcmp(numeric ? fields[2] : fields[0], numeric ? given : name))
			continue;
		found = true;
		user->uid = (uid_t)atol(fields[2]), user->gid = (gid_t)atol(fields[3]);
		snprintf(user->home, sizeof user->home, "%s", fields[5]);
	}
	if (found && !numeric && read_file("/etc/group", text, size) >= 0)
		find_groups(name, text, user);
	free(text);
	return found || numeric || root ? NULL : "the image has no such user";
}
