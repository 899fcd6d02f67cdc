/* Mounts by descriptor, and where they go. */

#include "native.h"

#include <linux/mount.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#ifndef MOUNT_ATTR_IDMAP
#define MOUNT_ATTR_IDMAP 0x00100000
#endif
#ifndef AT_RECURSIVE
#define AT_RECURSIVE 0x8000
#endif

int clone_tree(const char *path, bool recursive) {
	unsigned flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | (recursive ? AT_RECURSIVE : 0);
	return (int)syscall(SYS_open_tree, AT_FDCWD, path, flags);
}

static int change_attributes(int directory, const char *path, uint64_t attributes, int userns, bool recursive) {
	struct mount_attr change = {.attr_set = attributes, .userns_fd = (uint64_t)userns};
	unsigned flags = (*path ? 0 : AT_EMPTY_PATH) | (recursive ? AT_RECURSIVE : 0);
	return (int)syscall(SYS_mount_setattr, directory, path, flags, &change, sizeof change);
}

/* Let the ids of a user namespace own what the same numbers own on disk. */
bool map_tree(int tree, int userns) { return !change_attributes(tree, "", MOUNT_ATTR_IDMAP, userns, false); }

void set_attributes(int directory, const char *path, uint64_t attributes, bool recursive) {
	if (change_attributes(directory, path, attributes, 0, recursive))
		fail(*path ? path : "mount attributes");
}

void attach_tree(int tree, const char *target) {
	if (syscall(SYS_move_mount, tree, "", AT_FDCWD, target, MOVE_MOUNT_F_EMPTY_PATH))
		fail(target);
	close(tree);
}

void mount_or_fail(const char *source, const char *target, const char *kind, unsigned long flags, const char *options) {
	if (mount(source, target, kind, flags, options)) {
		int code = errno;
		char step[256];
		snprintf(step, sizeof step, "mount %.50s on %.150s", kind ? kind : source, target);
		errno = code;
		fail(step);
	}
}

const char *mount_point(const char *path, bool directory) {
	static char here[4096] SMALL;
	size_t length = 4;
	strcpy(here, "root");
	while (*path) {
		struct stat status;
		size_t part = strcspn(path, "/");
		if (length + part + 2 > sizeof here)
			fail_image(path, "is too long");
		bool last = !path[part] || !path[part + 1];
		here[length] = '/';
		memcpy(here + length + 1, path, part);
		here[length += part + 1] = 0;
		path += path[part] ? part + 1 : part;
		bool want_directory = directory || !last;
		if (lstat(here, &status)) {
			int file = want_directory ? mkdir(here, 0755) : open(here, O_CREAT | O_EXCL | O_CLOEXEC | O_WRONLY, 0644);
			if (file < 0)
				fail(here);
			if (!want_directory)
				close(file);
		} else if (want_directory ? !S_ISDIR(status.st_mode) : !S_ISREG(status.st_mode))
			fail_image(here + 4, want_directory ? "is not a directory" : "is not a regular file");
	}
	return here;
}

void bind_read_only(const char *source, const char *target) {
	mount_or_fail(source, target, NULL, MS_BIND | MS_REC, NULL);
	set_attributes(AT_FDCWD, target, MOUNT_ATTR_RDONLY, true);
}
