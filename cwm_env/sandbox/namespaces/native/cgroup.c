/* Control groups: the client says where they are and what their files should hold, for v1 and v2 alike.
 *
 * Moving a process takes a lock for which the kernel waits some milliseconds, unless one was moved just before. It is
 * not needed where a thread moves itself (v1), nor where a process is born in its group (v2). */

#include "native.h"

#include <sys/stat.h>

#define MOST_HOMES 16

static char **homes SMALL;
static int home_count SMALL, entrances[MOST_HOMES] SMALL;
static bool unified SMALL;

static void path_of(char *path, size_t size, int home, const char *id, const char *file) {
	snprintf(path, size, "%s/%s%s%s", homes[home], id, file ? "/" : "", file ? file : "");
}

void cgroups_are_in(char **directories, int count) {
	char path[4096];
	homes = directories, home_count = count < MOST_HOMES ? count : MOST_HOMES;
	if (count) {
		snprintf(path, sizeof path, "%s/tasks", homes[0]);
		unified = access(path, F_OK) != 0;
	}
}

static bool set_value(const char *id, const char *set) {
	char path[4096], file[128];
	const char *slash = strchr(set, '/'), *equals = strchr(set, '=');
	int home = atoi(set);
	if (!slash || !equals || home < 0 || home >= home_count)
		return errno = EINVAL, false;
	snprintf(file, sizeof file, "%.*s", (int)(equals - slash - 1), slash + 1);
	path_of(path, sizeof path, home, id, file);
	return write_file(path, equals + 1);
}

/* Fields `set` are HOME/FILE=VALUE, where HOME is an index of the directories; `try` is the same for files that not
 * every kernel has. */
bool make_groups(const char *id, const struct message *request) {
	char path[4096];
	for (int home = 0; home < home_count; home++)
		entrances[home] = -1;
	for (int home = 0; home < home_count; home++) {
		path_of(path, sizeof path, home, id, NULL);
		if (mkdir(path, 0755))
			return false;
		path_of(path, sizeof path, home, id, unified ? NULL : "tasks");
		entrances[home] = open(path, O_CLOEXEC | (unified ? O_RDONLY | O_DIRECTORY : O_WRONLY));
		if (entrances[home] < 0)
			return false;
	}
	for (const char *set = NULL; (set = next(request, "set", set));)
		if (!set_value(id, set))
			return false;
	for (const char *set = NULL; (set = next(request, "try", set));)
		set_value(id, set);
	return true;
}

int group_to_be_born_in(void) { return unified && home_count ? entrances[0] : -1; }

bool join_groups(void) {
	bool good = true;
	for (int home = 0; good && home < home_count && !unified; home++)
		good = write(entrances[home], "0", 1) == 1;
	return good;
}

void close_groups(void) {
	for (int home = 0; home < home_count; home++)
		if (entrances[home] >= 0)
			close(entrances[home]);
}

bool remove_groups(const char *id) {
	char path[4096];
	bool done = true;
	for (int home = 0; home < home_count; home++) {
		path_of(path, sizeof path, home, id, NULL);
		if (rmdir(path) && errno == EBUSY)
			done = false;
	}
	return done;
}
