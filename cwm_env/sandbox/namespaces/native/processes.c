/* All processes of a sandbox at once, as /proc shows them to its pid 1: killed, stopped, resumed. */

#include "native.h"

#include <ctype.h>
#include <dirent.h>
#include <signal.h>
#include <sys/stat.h>
#include <time.h>

#define PATIENCE_SECONDS 5
#define STOP_AFTER_ROUNDS 10
#define FEWEST_DESCRIPTORS 16 /* with fewer, nobody lives at a limit; most processes are seen to be well at once */

struct process {
	pid_t pid;
	char state;
	unsigned long long started; /* clock ticks since boot */
	unsigned long long worked;  /* clock ticks of CPU time, with its children's that have ended */
};

struct numbers {
	pid_t *pids;
	size_t count, room;
};

static bool paused;
static struct numbers was_stopped; /* before pause_processes: these stay stopped after resume_processes */

static void add(struct numbers *to, pid_t pid) {
	if (to->count == to->room) {
		size_t room = to->room ? 2 * to->room : 64;
		pid_t *larger = realloc(to->pids, room * sizeof *larger);
		if (!larger)
			return;
		to->pids = larger, to->room = room;
	}
	to->pids[to->count++] = pid;
}

static bool holds(const struct numbers *in, pid_t pid) {
	for (size_t i = 0; i < in->count; i++)
		if (in->pids[i] == pid)
			return true;
	return false;
}

/* Fields of proc_pid_stat(5), counted from the one after the name, the state. */
enum { STATE = 1, USER_TIME = 12, CHILDREN_SYSTEM_TIME = 15, START_TIME = 20 };

static bool look_at(const char *name, struct process *process) {
	char path[32], text[1024];
	snprintf(path, sizeof path, "/proc/%s/stat", name);
	if (read_file(path, text, sizeof text) <= 0)
		return false;
	char *at = strrchr(text, ')');
	if (!at || !at[1])
		return false;
	process->pid = (pid_t)atol(name);
	process->state = at[2];
	process->worked = process->started = 0;
	for (int field = STATE; (at = strchr(at + 1, ' ')) && field <= START_TIME; field++)
		if (field >= USER_TIME && field <= CHILDREN_SYSTEM_TIME)
			process->worked += strtoull(at, NULL, 10);
		else if (field == START_TIME)
			process->started = strtoull(at, NULL, 10);
	return true;
}

/* Call `visit` for every process but pid 1 and those that are dead; how many it counted. */
static int for_each(bool (*visit)(const struct process *, void *), void *given) {
	DIR *directory = opendir("/proc");
	int count = 0;
	if (!directory)
		return 0;
	for (struct dirent *entry; (entry = readdir(directory));) {
		struct process process;
		if (!isdigit((unsigned char)entry->d_name[0]) || !look_at(entry->d_name, &process))
			continue;
		if (process.pid != 1 && process.state != 'Z' && process.state != 'X')
			count += visit(&process, given);
	}
	closedir(directory);
	return count;
}

static void wait_a_little(void) { nanosleep(&(struct timespec){0, 500000}, NULL); }

static bool signal_unless_listed(const struct process *process, void *listed, int sign) {
	return !holds(listed, process->pid) && !kill(process->pid, sign);
}

struct doom {
	struct numbers keep, killed;
	unsigned long long first_tick;
};

static bool kill_doomed(const struct process *process, void *given) {
	struct doom *doom = given;
	if (process->started < doom->first_tick || holds(&doom->keep, process->pid))
		return false;
	if (kill(process->pid, SIGKILL) && errno == ESRCH)
		return false;
	if (!holds(&doom->killed, process->pid))
		add(&doom->killed, process->pid);
	return true;
}

/* Kill all that is not kept and did not start before `after`; how many, once they are gone, or -1. */
int kill_processes(const struct message *request, void (*reap)(void)) {
	struct doom doom = {.first_tick = (unsigned long long)number(request, "after", 0)};
	for (const char *kept = NULL; (kept = next(request, "keep", kept));)
		add(&doom.keep, (pid_t)atol(kept));
	bool everything = !doom.keep.count && !doom.first_tick, stopped = false;
	time_t last = time(NULL) + PATIENCE_SECONDS;
	int rounds = 0, left;
	while ((left = for_each(kill_doomed, &doom)) && time(NULL) <= last) {
		if (everything)
			kill(-1, SIGKILL); /* in one go, so that no fork bomb outruns it */
		else if (rounds++ == STOP_AFTER_ROUNDS)
			stopped = !paused && pause_processes(); /* it does: hold everything still */
		reap();
		wait_a_little();
	}
	if (stopped)
		resume_processes();
	int killed = (int)doom.killed.count;
	free(doom.keep.pids);
	free(doom.killed.pids);
	return left ? -1 : killed;
}

/* How many descriptors a process holds, which the kernel gives as the size of the directory since Linux 6.2. */
static long long count_descriptors(pid_t pid) {
	struct stat status;
	char path[32];
	snprintf(path, sizeof path, "/proc/%d/fd", pid);
	return stat(path, &status) ? 0 : (long long)status.st_size;
}

/* Some calls need two at once: with one left, a process may have met its limit. */
static bool holds_all_descriptors(pid_t pid) {
	static const char name[] = "Max open files";
	char path[32], text[4096];
	long long held = count_descriptors(pid);
	if (held < FEWEST_DESCRIPTORS)
		return false;
	snprintf(path, sizeof path, "/proc/%d/limits", pid);
	const char *row = read_file(path, text, sizeof text) > 0 ? strstr(text, name) : NULL;
	return row && held >= strtoll(row + sizeof name - 1, NULL, 10) - 1;
}

static bool add_work(const struct process *process, void *total) {
	struct work *work = total;
	work->cpu_us += (long long)process->worked * 1000000 / sysconf(_SC_CLK_TCK);
	work->full += holds_all_descriptors(process->pid);
	return false;
}

struct work work_of_processes(void) {
	struct work work = {0, 0};
	for_each(add_work, &work);
	if (!count_descriptors(1))
		work.full = -1;
	return work;
}

static bool note_stopped(const struct process *process, void *given) {
	(void)given;
	if (process->state == 'T')
		add(&was_stopped, process->pid);
	return false;
}

static bool is_moving(const struct process *process, void *given) {
	(void)given;
	return process->state != 'T' && process->state != 't';
}

bool pause_processes(void) {
	if (paused)
		return true;
	paused = true;
	was_stopped.count = 0;
	for_each(note_stopped, NULL);
	for (time_t last = time(NULL) + PATIENCE_SECONDS; time(NULL) <= last; wait_a_little()) {
		kill(-1, SIGSTOP);
		if (!for_each(is_moving, NULL))
			return true;
	}
	resume_processes();
	return false;
}

static bool go_on(const struct process *process, void *given) { return signal_unless_listed(process, given, SIGCONT); }

void resume_processes(void) {
	if (!paused)
		return;
	paused = false;
	for_each(go_on, &was_stopped);
	was_stopped.count = 0;
}
