/* A tree as a tar archive: streamed, going down by descriptors, so that no link leads out of it.
 *
 * Names of any bytes and length (GNU's long names), holes of sparse files (GNU's map, version 0.1), hard links, and
 * the attributes of users, among them overlayfs's marks. Sockets are left out, as nobody would answer on them. An exact
 * archive, which only `unpack` reads, also has nanoseconds and file capabilities. */

#include "native.h"
#include "tar.h"

#include <dirent.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#define DEEPEST 512
#define MOST_SEGMENTS 4096

struct seen {
	dev_t device;
	ino_t inode;
	char *name;
};

static bool exact; /* and directories again after what is in them, so that their times come out right */
static struct seen *links;
static size_t link_count, link_room;

/* Attributes of users; in a copy that is to be exact, file capabilities and access lists too. */
static bool is_wanted(const char *name) {
	return !strncmp(name, "user.", 5) ||
	       (exact && (!strcmp(name, "security.capability") || !strncmp(name, "system.posix_acl_", 17)));
}

static void add_attributes(struct attributes *to, int file) {
	static char names[65536], value[65536], key[512];
	ssize_t size = flistxattr(file, names, sizeof names);
	for (char *name = names; name < names + size; name += strlen(name) + 1) {
		ssize_t got = is_wanted(name) ? fgetxattr(file, name, value, sizeof value) : -1;
		if (got < 0)
			continue;
		snprintf(key, sizeof key, "SCHILY.xattr.%.255s", name);
		add_record(to, key, value, (size_t)got);
	}
}

/* What of its time the header's whole seconds since 1970 cannot hold. */
static void add_time(struct attributes *to, const struct timespec *time) {
	char text[64];
	bool early = time->tv_sec < 0;
	if (!exact || (!early && !time->tv_nsec))
		return;
	long long seconds = early ? -(long long)time->tv_sec - (time->tv_nsec > 0) : (long long)time->tv_sec;
	long fraction = early && time->tv_nsec ? 1000000000 - time->tv_nsec : time->tv_nsec;
	int size = snprintf(text, sizeof text, "%s%lld.%09ld", early ? "-" : "", seconds, fraction);
	add_record(to, "mtime", text, (size_t)size);
}

struct segment {
	off_t start, size;
};

/* Where a file with holes has data; how many pieces. */
static int find_segments(int file, off_t size, struct segment *segments) {
	int count = 0;
	for (off_t at = 0; at < size && count < MOST_SEGMENTS; count++) {
		off_t start = lseek(file, at, SEEK_DATA);
		if (start < 0 || start >= size)
			break;
		off_t end = count == MOST_SEGMENTS - 1 ? size : lseek(file, start, SEEK_HOLE);
		if (end < 0 || end > size)
			end = size;
		segments[count] = (struct segment){start, end - start};
		at = end;
	}
	return count;
}

static void add_map(struct attributes *to, const struct segment *segments, int count, off_t size) {
	char *map = malloc((size_t)count * 44 + 48), *at = map;
	if (!map)
		return;
	for (int i = 0; i < count; i++)
		at += sprintf(at, "%s%lld,%lld", i ? "," : "", (long long)segments[i].start, (long long)segments[i].size);
	if (!count)
		at += sprintf(at, "%lld,0", (long long)size);
	add_record(to, "GNU.sparse.map", map, (size_t)(at - map));
	add_record(to, "GNU.sparse.size", map, (size_t)sprintf(map, "%lld", (long long)size));
	free(map);
}

/* Exactly `size` bytes from `start`, zeros where the file has become shorter. */
static bool put_data(int out, int file, off_t start, off_t size) {
	static char buffer[1 << 17];
	while (size) {
		size_t want = size < (off_t)sizeof buffer ? (size_t)size : sizeof buffer;
		ssize_t got = pread(file, buffer, want, start);
		if (got <= 0) {
			memset(buffer, 0, want);
			got = (ssize_t)want;
		}
		if (!write_all(out, buffer, (size_t)got))
			return false;
		start += got, size -= got;
	}
	return true;
}

static bool put_file(int out, int file, const char *name, const struct stat *status, struct header *header) {
	static struct segment segments[MOST_SEGMENTS];
	struct attributes extra = {0};
	int count = 1;
	off_t total = 0;
	add_attributes(&extra, file);
	add_time(&extra, &status->st_mtim);
	segments[0] = (struct segment){0, status->st_size};
	if (status->st_blocks * 512 < status->st_size) {
		count = find_segments(file, status->st_size, segments);
		add_map(&extra, segments, count, status->st_size);
	}
	for (int i = 0; i < count; i++)
		total += segments[i].size;
	number_into(header->size, sizeof header->size, (unsigned long long)total);
	bool good = put_entry(out, header, name, "", &extra);
	for (int i = 0; good && i < count; i++)
		good = put_data(out, file, segments[i].start, segments[i].size);
	return good && pad(out, (unsigned long long)total);
}

/* The name under which this inode was packed before, or NULL, after noting it. */
static const char *packed_as(const struct stat *status, const char *name) {
	for (size_t i = 0; i < link_count; i++)
		if (links[i].inode == status->st_ino && links[i].device == status->st_dev)
			return links[i].name;
	if (link_count == link_room) {
		link_room = link_room ? 2 * link_room : 64;
		links = realloc(links, link_room * sizeof *links);
		if (!links)
			_exit(1);
	}
	links[link_count++] = (struct seen){status->st_dev, status->st_ino, strdup(name)};
	return NULL;
}

static int pack_directory(int directory, const char *name, const struct stat *status, struct header *header, int out,
                          int depth);

static int pack_entry(int parent, const char *base, const char *name, int out, int depth) {
	struct stat status;
	char target[4097] = "";
	struct header header = {0};
	struct attributes extra = {0};
	if (fstatat(parent, base, &status, AT_SYMLINK_NOFOLLOW))
		return errno == ENOENT ? 0 : -1;
	int type = status.st_mode & S_IFMT, file = -1, done = 0;
	number_into(header.mode, sizeof header.mode, status.st_mode & 07777);
	number_into(header.uid, sizeof header.uid, status.st_uid);
	number_into(header.gid, sizeof header.gid, status.st_gid);
	number_into(header.mtime, sizeof header.mtime, status.st_mtime < 0 ? 0 : (unsigned long long)status.st_mtime);
	number_into(header.size, sizeof header.size, 0);
	const char *first = type != S_IFDIR && status.st_nlink > 1 && type != S_IFCHR ? packed_as(&status, name) : NULL;
	if (first) {
		header.type = '1';
		return put_entry(out, &header, name, first, &extra) ? 0 : -1;
	}
	if (type == S_IFREG || type == S_IFDIR) {
		file = openat(parent, base, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC | (type == S_IFDIR ? O_DIRECTORY : 0));
		if (file < 0 || fstat(file, &status) || (status.st_mode & S_IFMT) != (mode_t)type)
			done = -1;
		else if (type == S_IFREG) {
			header.type = '0';
			done = put_file(out, file, name, &status, &header) ? 0 : -1;
		} else
			done = pack_directory(file, name, &status, &header, out, depth);
		if (file >= 0)
			close(file);
		return done;
	}
	switch (type) {
	case S_IFLNK:
		header.type = '2';
		if (readlinkat(parent, base, target, sizeof target - 1) < 0)
			return -1;
		break;
	case S_IFCHR:
	case S_IFBLK:
		header.type = type == S_IFCHR ? '3' : '4';
		number_into(header.major, sizeof header.major, major(status.st_rdev));
		number_into(header.minor, sizeof header.minor, minor(status.st_rdev));
		break;
	case S_IFIFO:
		header.type = '6';
		break;
	default:
		return 0;
	}
	add_time(&extra, &status.st_mtim);
	return put_entry(out, &header, name, target, &extra) ? 0 : -1;
}

static int pack_directory(int directory, const char *name, const struct stat *status, struct header *header, int out,
                          int depth) {
	struct attributes extra = {0};
	char *path = malloc(strlen(name) + 260);
	int copy = dup(directory), done = 0;
	DIR *stream = copy < 0 ? NULL : fdopendir(copy);
	if (!path || !stream || depth > DEEPEST)
		return errno = depth > DEEPEST ? ELOOP : errno, -1;
	add_attributes(&extra, directory);
	header->type = '5';
	sprintf(path, "%s/", name);
	if (!put_entry(out, header, path, "", &extra))
		done = -1;
	for (struct dirent *entry; !done && (entry = readdir(stream));) {
		if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
			continue;
		sprintf(path, "%s/%s", name, entry->d_name);
		done = pack_entry(directory, entry->d_name, path, out, depth + 1);
	}
	sprintf(path, "%s/", name);
	add_time(&extra, &status->st_mtim);
	if (!done && exact && !put_entry(out, header, path, "", &extra))
		done = -1;
	closedir(stream);
	free(path);
	free(extra.text);
	return done;
}

/* Pack what `base` of `directory` is, called `name` in the archive. */
int pack(int directory, const char *base, const char *name, int out, bool exactly) {
	exact = exactly;
	return pack_entry(directory, base, name, out, 0);
}

int pack_end(int out) {
	static const char zeros[2 * BLOCK];
	return write_all(out, zeros, sizeof zeros) ? 0 : -1;
}
