/* Control groups: the client says where they are and what their files should hold, for v1 and v2 alike. */

#include "native.h"

#include <sys/stat.h>

static char **homes;
static int home_count;

void cgroups_are_in(char **directories, int count) { homes = directories, home_count = count; }

static void path_of(char *path, size_t size, int home, const char *id, const char *file) {
	snprintf(path, size, "%s/%s%s%s", homes[home], id, file ? "/" : "", file ? file : "");
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
bool make_groups(const char *id, const struct message *request, pid_t pid) {
	char path[4096], text[32];
	for (int home = 0; home < home_count; home++) {
		path_of(path, sizeof path, home, id, NULL);
		if (mkdir(path, 0755))
			return false;
	}
	for (const char *set = NULL; (set = next(request, "set", set));)
		if (!set_value(id, set))
			return false;
	for (const char *set = NULL; (set = next(request, "try", set));)
		set_value(id, set);
	snprintf(text, sizeof text, "%d", pid);
	for (int home = 0; home < home_count; home++) {
		path_of(path, sizeof path, home, id, "cgroup.procs");
		if (!write_file(path, text) && errno != ESRCH) /* it has died already, and told the client why */
			return false;
	}
	return true;
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
