/* What pid 1 starts: a program of the image, or one of our own tools, with three streams and an exit status. */

#include "native.h"

#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>

/* A program of a sandbox goes before anything else on a machine that runs out of memory. */
#define OOM_SCORE "500"

extern char **environ;

enum { IN, OUT, ERR, EXIT, STREAMS };

static void close_all(int (*streams)[2]) {
	for (int i = 0; i < STREAMS; i++)
		for (int end = 0; end < 2; end++)
			if (streams[i][end] >= 0)
				close(streams[i][end]);
}

/* For each stream first the end that is read, then the one that is written. */
static bool open_streams(int (*streams)[2]) {
	for (int i = 0; i < STREAMS; i++)
		streams[i][0] = streams[i][1] = -1;
	/* Standard input is a socket, which nobody can open through /proc/PID/fd to write into a shell's commands. */
	bool good = !socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, streams[IN]);
	for (int i = OUT; good && i < STREAMS; i++)
		good = !pipe2(streams[i], O_CLOEXEC);
	if (!good) {
		int code = errno;
		close_all(streams);
		errno = code;
	}
	return good;
}

/* Close every descriptor from `first` on; gVisor has learnt the system call for it late. */
static void close_from(int first) {
	if (!syscall(SYS_close_range, (unsigned)first, ~0U, 0U))
		return;
	for (int descriptor = first, end = (int)sysconf(_SC_OPEN_MAX); descriptor < end; descriptor++)
		close(descriptor);
}

static char **list(const struct message *request, const char *name, const char *first) {
	int count = 0, at = 0;
	for (const char *value = NULL; (value = next(request, name, value));)
		count++;
	char **values = calloc((size_t)count + 2, sizeof *values);
	if (!values)
		_exit(127);
	if (first)
		values[at++] = (char *)first;
	for (const char *value = NULL; (value = next(request, name, value));)
		values[at++] = (char *)value;
	return values;
}

static void complain(const char *who, const char *why) {
	dprintf(2, "%s: %s\n", who, why);
}

static void give_up(const char *step) {
	complain(step, strerror(errno));
	_exit(127);
}

static void execute(const struct message *request, const struct user *user) {
	static char home[300];
	char **arguments = list(request, "arg", NULL);
	const char *cwd = field(request, "cwd"), *who = arguments[0] ? arguments[0] : "";
	snprintf(home, sizeof home, "HOME=%s", user->home);
	bool own_home = false;
	for (const char *value = NULL; (value = next(request, "env", value));)
		own_home |= !strncmp(value, "HOME=", 5);
	environ = list(request, "env", own_home ? NULL : home);
	if (chdir(cwd))
		give_up(cwd);
	if (!*who) {
		complain("exec", "no program was named");
		_exit(127);
	}
	execvp(who, arguments);
	int code = errno;
	complain(who, strerror(code));
	_exit(code == EACCES ? 126 : 127);
}

/* In the child: become the program. What goes wrong is said on standard error, as a shell would. */
static void child(const struct plan *plan, const struct message *request, const struct user *user,
                  int (*streams)[2]) {
	sigset_t none;
	sigemptyset(&none);
	setsid();
	const struct sched_param usual = {0};
	syscall(SYS_sched_setscheduler, 0, SCHED_BATCH, &usual); /* or it would drive whoever wakes it off the processor */
	for (int target = IN; target <= ERR; target++)
		dup2(streams[target][target != IN], target);
	close_all(streams);
	bool tool = field(request, "tool") != NULL, nested = !many_ids() && user->uid && !tool;
	if (!tool) {
		close_from(field(request, "shell_loop") && give_shell_loop(ERR + 1) ? ERR + 2 : ERR + 1);
		limit_program();
	} else if (plan->first_private)
		close_from(plan->first_private);
	if (!nested && many_ids() && !become(user))
		give_up("cannot become the user");
	/* Only now may others in the sandbox look into this process; without the filter it would be worth taking over. */
	if (!deny_system_calls(nested))
		give_up("seccomp");
	if (!tool) {
		prctl(PR_SET_DUMPABLE, 1); /* or /proc/self belongs to nobody that exists here */
		write_file("/proc/self/oom_score_adj", OOM_SCORE);
	}
	if (nested && (!become(user) || !deny_system_calls(false)))
		give_up("cannot become the user");
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL);
	if (!tool)
		execute(request, user);
	char **arguments = list(request, "arg", NULL);
	int count = 0;
	while (arguments[count])
		count++;
	_exit(run_tool(plan, count, arguments));
}

int start_program(const struct plan *plan, const struct message *request, pid_t *pid) {
	int streams[STREAMS][2];
	struct user user;
	const char *name = field(request, "user"), *missing = look_up(name, &user);
	if (missing) {
		char text[256];
		int size = snprintf(text, sizeof text, "error=%s: %.100s", missing, name) + 1;
		send_fields(plan->control, text, (size_t)size, NULL, 0);
		return -1;
	}
	if (!open_streams(streams)) {
		send_error(plan->control, "open streams", errno);
		return -1;
	}
	const int theirs[] = {streams[IN][1], streams[OUT][0], streams[ERR][0], streams[EXIT][0]};
	for (int i = OUT; many_ids() && i <= ERR; i++) /* so that /dev/stdout can be opened */
		if (fchown(streams[i][1], user.uid, user.gid)) {
			/* It then cannot be: no reason to refuse the program. */
		}
	*pid = fork();
	if (*pid == 0)
		child(plan, request, &user, streams);
	if (*pid > 0) {
		send_number(plan->control, "pid", *pid, theirs, STREAMS);
		int exit_write = streams[EXIT][1];
		streams[EXIT][1] = -1;
		close_all(streams);
		return exit_write;
	}
	send_error(plan->control, "no room for another process", errno);
	close_all(streams);
	return -1;
}
