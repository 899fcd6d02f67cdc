/* The sandbox's file system: an overlay of the image's layers, put together on a tmpfs and then made the root.
 *
 * The tmpfs (the stage) covers /tmp of a private mount namespace. Layers arrive as descriptors of detached mounts, so
 * no path on the host is looked up with the sandbox's rights, and none may hold a character that overlayfs would
 * read as syntax. */

#include "native.h"

#include <linux/mount.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#define STAGE "/tmp"
#define MOST_HOST_MOUNTS 32

struct host_mount {
	const char *path;
	int tree;
};

static const char *const network_files[] = {"/etc/resolv.conf", "/etc/hosts"};
static const char *const written_names[] = WRITTEN;
static const char *const written_paths[] = {NULL, "tmp", "run", "dev/shm"};

static void make_directory(const char *path, mode_t mode) {
	if (mkdir(path, mode) || chmod(path, mode))
		fail(path);
}

static int find_host_mounts(const struct plan *plan, int first, struct host_mount *found) {
	int count = 0;
	for (const char *path = NULL; (path = next(plan->request, "mount", path)) && count < MOST_HOST_MOUNTS; count++)
		found[count] = (struct host_mount){path, plan->trees[first + count]};
	for (size_t i = 0; plan->share_network && i < LENGTH(network_files) && count < MOST_HOST_MOUNTS; i++) {
		int tree = clone_tree(network_files[i], false);
		if (tree >= 0)
			found[count++] = (struct host_mount){network_files[i], tree};
	}
	return count;
}

static void attach_host_mount(const struct host_mount *from) {
	struct stat status;
	if (fstat(from->tree, &status))
		fail(from->path);
	const char *target = mount_point(from->path + 1, S_ISDIR(status.st_mode));
	set_attributes(from->tree, "", MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV, true);
	attach_tree(from->tree, target);
}

/* Directories of the host mounts that are to appear empty. */
static void hide(const struct message *request) {
	char target[4096];
	struct stat status;
	make_directory("empty", 0555);
	for (const char *path = NULL; (path = next(request, "hidden", path));) {
		snprintf(target, sizeof target, "root%s", path);
		if (!lstat(target, &status) && S_ISDIR(status.st_mode))
			bind_read_only("empty", target);
	}
}

/* Copy into the empty directories that will be written what another sandbox has written. */
static void take_over(struct plan *plan) {
	const struct unpack_rules rules = {.bytes = INT64_MAX, .entries = INT64_MAX, .trusted = true};
	int root = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	const char *complaint = unpack(plan->request->descriptors[0], root, &rules);
	if (complaint)
		fail("copy what another sandbox has written");
	close(root);
	close(plan->request->descriptors[0]);
}

/* The directories named in WRITTEN, side by side, so that one limit of size holds for all of them. */
static void make_written(struct plan *plan, int upper) {
	make_directory("writable", 0755);
	if (upper >= 0)
		attach_tree(upper, "writable");
	else {
		make_directory("writable/work", 0755);
		make_directory("writable/upper", 0755);
	}
	for (size_t i = 1; i < LENGTH(written_names); i++)
		make_directory(written_names[i], 01777);
	for (size_t i = 0; i < LENGTH(written_names); i++)
		if ((plan->written[i] = open(written_names[i], O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
			fail(written_names[i]);
	if (plan->request->count && field(plan->request, "seed"))
		take_over(plan);
}

static int count_layers(const struct plan *plan) {
	int count = 0;
	for (const char *layer = NULL; (layer = next(plan->request, "layer", layer));)
		count++;
	return count;
}

static void mount_overlay(struct plan *plan, int layers, bool on_disk) {
	char options[4096], name[16];
	for (int i = 0; i < layers; i++) {
		snprintf(name, sizeof name, "l%d", i);
		make_directory(name, 0755);
		attach_tree(plan->trees[i], name);
	}
	make_written(plan, on_disk ? plan->trees[layers] : -1);
	make_directory("root", 0755);
	int used = snprintf(options, sizeof options, "lowerdir=");
	for (int i = layers - 1; i >= 0; i--)
		used += snprintf(options + used, sizeof options - (size_t)used, "l%d%s", i, i ? ":" : "");
	snprintf(options + used, sizeof options - (size_t)used, ",upperdir=writable/upper,workdir=writable/work,userxattr");
	mount_or_fail("overlay", "root", "overlay", MS_NOSUID | MS_NODEV, options);
}

void build_root(struct plan *plan) {
	struct host_mount from_host[MOST_HOST_MOUNTS];
	int devices[16];
	char size[96];
	int layers = count_layers(plan);
	bool on_disk = field(plan->request, "upper") != NULL;
	int host_mounts = find_host_mounts(plan, layers + on_disk, from_host);
	open_devices(devices);
	mount_or_fail("none", "/", NULL, MS_SLAVE | MS_REC, NULL);
	snprintf(size, sizeof size, "mode=755,size=%lld,nr_inodes=%lld", number(plan->request, "disk", 0),
	         number(plan->request, "inodes", 0));
	mount_or_fail("tmpfs", STAGE, "tmpfs", MS_NOSUID | MS_NODEV, size);
	if (chdir(STAGE))
		fail("chdir");
	mount_overlay(plan, layers, on_disk);
	for (int i = 0; i < host_mounts; i++)
		attach_host_mount(&from_host[i]);
	hide(plan->request);
	mount_proc(plan->request);
	mount_devices(devices);
	for (size_t i = 1; i < LENGTH(written_names); i++)
		mount_or_fail(written_names[i], mount_point(written_paths[i], true), NULL, MS_BIND, NULL);
	if (chdir("root") || syscall(SYS_pivot_root, ".", ".") || umount2(".", MNT_DETACH) || chdir("/"))
		fail("pivot_root");
}
