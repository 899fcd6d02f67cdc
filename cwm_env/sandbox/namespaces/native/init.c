/* Pid 1 of a sandbox: starts programs when its client asks, reaps what dies, and kills, stops or resumes on request. */

#include "native.h"

#include <poll.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/statvfs.h>
#include <sys/wait.h>

struct started {
	struct started *next;
	pid_t pid;
	int exit_write;
};

static struct started *running SMALL, first SMALL; /* most sandboxes start one program, and so need no allocator */
static int deaths SMALL;

void reap_started(void) {
	struct signalfd_siginfo ignored[8];
	int status;
	while (read(deaths, ignored, sizeof ignored) > 0)
		;
	for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;)
		for (struct started **at = &running; *at; at = &(*at)->next) {
			struct started *gone = *at;
			if (gone->pid != pid)
				continue;
			int32_t code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
			if (write(gone->exit_write, &code, sizeof code) < 0) {
				/* The client has closed its end: it does not want to know. */
			}
			close(gone->exit_write);
			*at = gone->next;
			if (gone == &first)
				first.pid = 0;
			else
				free(gone);
			break;
		}
}

static void answer_start(struct plan *plan, const struct message *request) {
	struct started *made = first.pid ? malloc(sizeof *made) : &first;
	pid_t pid;
	int exit_write = made ? start_program(plan, request, &pid) : -1;
	if (exit_write < 0) {
		if (made != &first)
			free(made);
		return;
	}
	*made = (struct started){running, pid, exit_write};
	running = made;
}

/* A leader that was not reaped yet still holds its id, so no other process can be meant. */
static void answer_signal(const struct plan *plan, const struct message *request) {
	pid_t pid = (pid_t)number(request, "pid", 0);
	for (struct started *at = running; at; at = at->next)
		if (at->pid == pid)
			if (kill(-pid, (int)number(request, "signal", SIGKILL)) && errno == ESRCH)
				kill(pid, (int)number(request, "signal", SIGKILL)); /* so young that it leads no group yet */
	send_number(plan->control, "done", 1, NULL, 0);
}

static void answer_usage(const struct plan *plan) {
	struct rusage gone;
	struct statvfs disk = {0};
	char text[512];
	getrusage(RUSAGE_CHILDREN, &gone);
	fstatvfs(plan->written[1], &disk);
	struct work alive = work_of_processes();
	long long cpu = (gone.ru_utime.tv_sec + gone.ru_stime.tv_sec) * 1000000LL + gone.ru_utime.tv_usec +
	                gone.ru_stime.tv_usec + alive.cpu_us;
	unsigned long long used = (disk.f_blocks - disk.f_bfree) * disk.f_frsize, left = disk.f_bfree * disk.f_frsize;
	int size = snprintf(text, sizeof text,
	                    "cpu_us=%lld%cdisk_used=%llu%cdisk_free=%llu%cinodes_free=%llu%cfiles_full=%d", cpu, 0, used, 0,
	                    left, 0, (unsigned long long)disk.f_ffree, 0, alive.full) + 1;
	send_fields(plan->control, text, (size_t)size, NULL, 0);
}

void answer(struct plan *plan, const struct message *request) {
	const char *what = field(request, "do");
	int killed;
	if (!what)
		what = "";
	if (!strcmp(what, "spawn"))
		answer_start(plan, request);
	else if (field(request, "echo"))
		send_echo(plan->control, request);
	else if (!strcmp(what, "signal"))
		answer_signal(plan, request);
	else if (!strcmp(what, "kill")) {
		if ((killed = kill_processes(request, reap_started)) >= 0)
			send_number(plan->control, "killed", killed, NULL, 0);
		else
			send_error(plan->control, "processes would not die", EBUSY);
	} else if (!strcmp(what, "pause")) {
		if (pause_processes())
			send_number(plan->control, "done", 1, NULL, 0);
		else
			send_error(plan->control, "processes would not stop", EBUSY);
	} else if (!strcmp(what, "resume")) {
		resume_processes();
		send_number(plan->control, "done", 1, NULL, 0);
	} else if (!strcmp(what, "usage"))
		answer_usage(plan);
	else if (!strcmp(what, "upper"))
		send_number(plan->control, "done", 1, plan->written, 1);
	else
		send_error(plan->control, "unknown request", EINVAL);
}

int watch_deaths(void) {
	sigset_t child;
	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	if ((deaths = signalfd(-1, &child, SFD_CLOEXEC | SFD_NONBLOCK)) < 0)
		fail("signalfd");
	return deaths;
}

void serve(struct plan *plan) {
	watch_deaths();
	int listeners = plan->listener >= 0;
	send_number(plan->control, "ready", 1, &plan->listener, listeners);
	if (listeners)
		close(plan->listener);
	struct pollfd ready[] = {{plan->control, POLLIN, 0}, {deaths, POLLIN, 0}};
	static struct message request SMALL;
	for (;;) {
		poll(ready, LENGTH(ready), -1);
		if (ready[1].revents)
			reap_started();
		if (!ready[0].revents)
			continue;
		if (!receive(plan->control, &request))
			_exit(0);
		answer(plan, &request);
		forget(&request);
		let_go_of_stack();
	}
}
