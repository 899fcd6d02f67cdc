/* A tar archive as a tree below one directory. The archive is hostile data: names that lead out are refused, no link
 * is followed on the way to a file, and what it may hold is bounded. */

#include "native.h"
#include "tar.h"

#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>

#define LONGEST 65536
#define MOST_EXTRA (4 << 20)

struct entry {
	struct header header;
	char name[LONGEST], link[LONGEST];
	bool long_name, long_link;
	char *pax;
	size_t pax_size;
	const char *map;          /* of a file with holes, or NULL */
	unsigned long long size;  /* bytes that follow in the archive */
	unsigned long long whole; /* bytes of the file */
	double mtime;
};

static struct entry entry;
static int failed_with; /* the error behind a complaint: EINVAL where the archive itself is to blame */

static const char *system_error(void) {
	failed_with = errno;
	return strerror(failed_with);
}

static unsigned long long number_of(const char *text, size_t size) {
	unsigned long long value = 0;
	if ((unsigned char)*text & 0x80) {
		for (size_t i = 1; i < size; i++)
			value = value << 8 | (unsigned char)text[i];
		return value;
	}
	for (size_t i = 0; i < size && (text[i] == ' ' || (text[i] >= '0' && text[i] <= '7')); i++)
		if (text[i] != ' ')
			value = value << 3 | (unsigned)(text[i] - '0');
	return value;
}

static bool skip(int in, unsigned long long size) {
	static char nowhere[65536];
	while (size) {
		size_t part = size < sizeof nowhere ? (size_t)size : sizeof nowhere;
		if (!read_all(in, nowhere, part))
			return false;
		size -= part;
	}
	return true;
}

static unsigned long long padding(unsigned long long size) { return (BLOCK - size % BLOCK) % BLOCK; }

/* The value of a pax record, ended by a NUL in place of its newline, or NULL. */
static char *pax(const char *key, size_t *size) {
	char *at = entry.pax, *end = entry.pax + entry.pax_size;
	size_t length = strlen(key);
	while (at && at < end) {
		char *text;
		size_t record = strtoul(at, &text, 10);
		if (!record || record > (size_t)(end - at) || *text != ' ' || text + 1 + length + 1 > at + record)
			return NULL;
		if (!strncmp(text + 1, key, length) && text[1 + length] == '=') {
			char *value = text + 2 + length;
			*size = (size_t)(at + record - 1 - value);
			value[*size] = 0;
			return value;
		}
		at += record;
	}
	return NULL;
}

static const char *read_extra(int in, char type, unsigned long long size) {
	bool is_pax = type == 'x' || type == 'g';
	if (size >= (is_pax ? MOST_EXTRA : LONGEST))
		return "a name or its attributes are too long";
	char *into = type == 'L' ? entry.name : entry.link;
	if (is_pax) {
		free(entry.pax);
		if (!(into = entry.pax = malloc((size_t)size + 1)))
			return "no memory is left";
		entry.pax_size = (size_t)size;
	}
	if (!read_all(in, into, (size_t)size) || !skip(in, padding(size)))
		return "the archive ends too early";
	into[size] = 0;
	entry.long_name |= type == 'L';
	entry.long_link |= type == 'K';
	if (type == 'g')
		entry.pax_size = 0;
	return NULL;
}

static void apply_pax(void) {
	size_t size;
	char *value;
	if ((value = pax("path", &size)) && size < LONGEST)
		strcpy(entry.name, value);
	if ((value = pax("linkpath", &size)) && size < LONGEST)
		strcpy(entry.link, value);
	if ((value = pax("size", &size)))
		entry.size = strtoull(value, NULL, 10);
	if ((value = pax("mtime", &size)))
		entry.mtime = strtod(value, NULL);
	entry.whole = entry.size;
	entry.map = pax("GNU.sparse.map", &size);
	if ((value = pax("GNU.sparse.size", &size)))
		entry.whole = strtoull(value, NULL, 10);
	if ((value = pax("GNU.sparse.name", &size)) && size < LONGEST)
		strcpy(entry.name, value);
}

/* Read up to and with the next entry's header; `*more` is false at the archive's end. */
static const char *next_entry(int in, bool *more) {
	struct header *h = &entry.header;
	entry.long_name = entry.long_link = false;
	free(entry.pax);
	entry.pax = NULL, entry.pax_size = 0;
	for (;;) {
		if (!read_all(in, h, BLOCK))
			return "the archive ends too early";
		*more = h->name[0] || h->checksum[0];
		if (!*more)
			return NULL;
		if (number_of(h->checksum, sizeof h->checksum) != sum_of(h))
			return "it is not a tar archive";
		entry.size = number_of(h->size, sizeof h->size);
		if (!strchr("LKxg", h->type) || !h->type)
			break;
		const char *complaint = read_extra(in, h->type, entry.size);
		if (complaint)
			return complaint;
	}
	bool posix = !memcmp(h->magic, "ustar\0", 6);
	if (!entry.long_name)
		snprintf(entry.name, sizeof entry.name, "%.*s%s%.*s", posix ? 155 : 0, h->prefix, posix && *h->prefix ? "/" : "", 100,
		         h->name);
	if (!entry.long_link)
		snprintf(entry.link, sizeof entry.link, "%.*s", 100, h->link);
	entry.mtime = (double)number_of(h->mtime, sizeof h->mtime);
	if (strchr("123456", h->type ? h->type : '0') && h->type)
		entry.size = 0;
	apply_pax();
	return NULL;
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

static void set_attributes_of(int parent, const char *base) {
	static char key[512];
	char *at = entry.pax;
	int file = -1;
	while (at && at < entry.pax + entry.pax_size) {
		char *text, *equals;
		size_t record = strtoul(at, &text, 10);
		if (!record || record > (size_t)(entry.pax + entry.pax_size - at))
			break;
		if (!strncmp(text, " SCHILY.xattr.user.", 19) && (equals = memchr(text, '=', record - (size_t)(text - at)))) {
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
	struct timespec times[2] = {{0, UTIME_OMIT}, {(time_t)entry.mtime, 0}};
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
