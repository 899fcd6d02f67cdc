/* A tar archive as a tree below one directory. The archive is hostile data: names that lead out are refused, no link
 * is followed on the way to a file, and what it may hold is bounded. */

#include "native.h"
#include "tar.h"

#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>

static int failed_with; /* the error behind a complaint: EINVAL where the archive itself is to blame */

static const char *system_error(void) {
	failed_with = errno;
	return strerror(failed_with);
}

/* Take ".", doubled slashes and a final slash out of a name. False where it is absolute or leads upwards. */
static bool clean(char *name) {
	char *to = name;
	if (*name == '/')
		return false;
	for (char *part = name, *rest; part; part = rest) {
		if ((rest = strchr(part, '/')))
			*rest++ = 0;
		if (!strcmp(part, ".."))
			return false;
		if (!*part || !strcmp(part, "."))
			continue;
		size_t length = strlen(part);
		if (to != name)
			*to++ = '/';
		memmove(to, part, length);
		to += length;
	}
	*to = 0;
	return true;
}

/* The same where the kernel (gVisor's) does not know openat2: one part after the other. */
static int walk_below(int directory, const char *path, int flags) {
	char part[256];
	int here = dup(directory);
	while (here >= 0 && *path) {
		size_t length = strcspn(path, "/");
		snprintf(part, sizeof part, "%.*s", (int)length, path);
		int below = length < sizeof part ? openat(here, part, flags | O_NOFOLLOW | O_CLOEXEC) : (errno = ENAMETOOLONG, -1);
		int code = errno;
		close(here);
		errno = code;
		here = below;
		path += length + (path[length] == '/');
	}
	return here;
}

static int open_below(int directory, const char *path, uint64_t flags) {
	struct open_how how = {.flags = flags | O_CLOEXEC,
	                       .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS};
	int found = (int)syscall(SYS_openat2, directory, path, &how, sizeof how);
	return found < 0 && errno == ENOSYS ? walk_below(directory, path, (int)flags) : found;
}

/* The directory that a cleaned name lies in, made where it is missing; `*base` is the name's last part. */
static int open_parent(int directory, char *name, const char **base) {
	char *slash = strrchr(name, '/');
	*base = slash ? slash + 1 : name;
	if (!slash)
		return dup(directory);
	*slash = 0;
	int parent = open_below(directory, name, O_PATH | O_DIRECTORY);
	if (parent < 0 && errno == ENOENT) {
		const char *own_base;
		int above = open_parent(directory, name, &own_base);
		if (above >= 0) {
			mkdirat(above, own_base, 0755);
			close(above);
			parent = open_below(directory, name, O_PATH | O_DIRECTORY);
		}
	}
	*slash = '/';
	return parent;
}

static bool copy_data(int in, int out, unsigned long long size, off_t at) {
	static char buffer[1 << 17];
	while (size) {
		size_t part = size < sizeof buffer ? (size_t)size : sizeof buffer;
		if (!read_all(in, buffer, part))
			return errno = EPIPE, false;
		for (size_t done = 0; done < part;) {
			ssize_t wrote = pwrite(out, buffer + done, part - done, at);
			if (wrote < 0)
				return false;
			done += (size_t)wrote, at += wrote;
		}
		size -= part;
	}
	return true;
}

static const char *make_file(int in, int parent, const char *base) {
	int file = openat(parent, base, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (file < 0)
		return system_error();
	bool good = true;
	unsigned long long left = entry.size;
	for (const char *map = entry.map; good && map && *map;) {
		char *end;
		off_t start = (off_t)strtoll(map, &end, 10);
		unsigned long long size = *end == ',' ? strtoull(end + 1, &end, 10) : 0;
		map = *end == ',' ? end + 1 : "";
		if (size > left || start < 0)
			good = false, errno = EINVAL;
		else
			good = copy_data(in, file, size, start), left -= size;
	}
	if (!entry.map)
		good = copy_data(in, file, left, 0), left = 0;
	if (good && entry.map)
		good = !ftruncate(file, (off_t)entry.whole);
	if (!good)
		system_error();
	close(file);
	return !good ? strerror(failed_with) : left || !skip(in, padding(entry.size)) ? "the archive ends too early" : NULL;
}

/* Attributes of users, file capabilities and access lists. */
static bool is_kept(const char *record) {
	static const char *const kept[] = {"user.", "security.capability=", "system.posix_acl_"};
	bool found = false;
	for (size_t i = 0; i < sizeof kept / sizeof *kept; i++)
		found = found || !strncmp(record + 14, kept[i], strlen(kept[i]));
	return !strncmp(record, " SCHILY.xattr.", 14) && found;
}

static void set_attributes_of(int parent, const char *base) {
	static char key[512];
	char *at = entry.pax;
	int file = -1;
	while (at && at < entry.pax + entry.pax_size) {
		char *text, *equals;
		size_t record = strtoul(at, &text, 10);
		if (!record || record > (size_t)(entry.pax + entry.pax_size - at))
			break;
		if (is_kept(text) && (equals = memchr(text, '=', record - (size_t)(text - at)))) {
			if (file < 0)
				file = openat(parent, base, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
			snprintf(key, sizeof key, "%.*s", (int)(equals - text - 14), text + 14);
			if (file >= 0)
				fsetxattr(file, key, equals + 1, (size_t)(at + record - 1 - equals - 1), 0);
		}
		at += record;
	}
	if (file >= 0)
		close(file);
}

static const char *dress(int parent, const char *base, const struct unpack_rules *rules) {
	const struct header *h = &entry.header;
	mode_t mode = (mode_t)number_of(h->mode, sizeof h->mode) & (rules->trusted ? 07777 : 0777);
	uid_t uid = rules->trusted ? (uid_t)number_of(h->uid, sizeof h->uid) : rules->uid;
	gid_t gid = rules->trusted ? (gid_t)number_of(h->gid, sizeof h->gid) : rules->gid;
	struct timespec times[2] = {{0, UTIME_OMIT}, entry.mtime};
	if (many_ids() && fchownat(parent, base, uid, gid, AT_SYMLINK_NOFOLLOW))
		return system_error();
	if (h->type != '2' && fchmodat(parent, base, mode, 0))
		return system_error();
	if (rules->trusted)
		set_attributes_of(parent, base);
	utimensat(parent, base, times, AT_SYMLINK_NOFOLLOW);
	return NULL;
}

static const char *make_hard_link(int directory, int parent, const char *base) {
	const char *target_base;
	if (!clean(entry.link) || !*entry.link)
		return "a hard link leads out of the directory";
	int target = open_parent(directory, entry.link, &target_base);
	if (target < 0)
		return system_error();
	int failed = linkat(target, target_base, parent, base, 0);
	close(target);
	return failed ? system_error() : NULL;
}

static const char *make_entry(int in, int directory, int parent, const char *base, const struct unpack_rules *rules) {
	struct stat status;
	const struct header *h = &entry.header;
	bool there = !fstatat(parent, base, &status, AT_SYMLINK_NOFOLLOW);
	bool whiteout = h->type == '3' && !number_of(h->major, sizeof h->major) && !number_of(h->minor, sizeof h->minor);
	if (there && !(h->type == '5' && S_ISDIR(status.st_mode)) &&
	    unlinkat(parent, base, S_ISDIR(status.st_mode) ? AT_REMOVEDIR : 0))
		return system_error();
	const char *complaint;
	int failed = 0;
	switch (h->type) {
	case '0':
	case '7':
	case 0:
		complaint = make_file(in, parent, base);
		return complaint ? complaint : dress(parent, base, rules);
	case '1':
		return make_hard_link(directory, parent, base);
	case '2':
		failed = symlinkat(entry.link, parent, base);
		break;
	case '5':
		failed = there && S_ISDIR(status.st_mode) ? 0 : mkdirat(parent, base, 0755);
		break;
	case '6':
		failed = mknodat(parent, base, S_IFIFO | 0600, 0);
		break;
	case '3':
		if (whiteout && rules->trusted)
			return mknodat(parent, base, S_IFCHR, 0) ? system_error() : NULL;
		/* fall through */
	default:
		return "it holds a device";
	}
	return failed ? system_error() : dress(parent, base, rules);
}

static const char *unpack_all(int in, int directory, const struct unpack_rules *rules) {
	unsigned long long bytes = 0;
	long long entries = 0;
	for (bool more = true;;) {
		const char *base, *complaint = next_entry(in, &more);
		if (complaint || !more)
			return complaint;
		if (++entries > rules->entries || entry.size > (unsigned long long)rules->bytes ||
		    (bytes += entry.size) > (unsigned long long)rules->bytes || entry.whole > (unsigned long long)rules->bytes)
			return "it holds more than is allowed";
		if (!clean(entry.name))
			return "a name in it leads out of the directory";
		if (!*entry.name)
			continue;
		int parent = open_parent(directory, entry.name, &base);
		complaint = parent < 0 ? system_error() : make_entry(in, directory, parent, base, rules);
		if (parent >= 0)
			close(parent);
		if (complaint)
			return complaint;
	}
}

const char *unpack(int in, int directory, const struct unpack_rules *rules) {
	failed_with = EINVAL;
	const char *complaint = unpack_all(in, directory, rules);
	errno = failed_with;
	return complaint;
}
