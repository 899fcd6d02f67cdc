/* The process that makes sandboxes: small, with one thread, asked over a socket.
 *
 * Never a fork of the caller: forking a trainer of many gigabytes would cost a hundred times the sandbox. It holds no
 * descriptor per sandbox, for each would be copied at every fork. It ends when its client closes the socket, and every
 * sandbox dies with it. */

#include "native.h"

#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#define BUCKETS 1024
#define LAST_SECONDS 10

struct sandbox {
	struct sandbox *next;
	pid_t pid; /* 0 once it is dead and only its control groups are left */
	char id[44];
};

static struct sandbox *alive[BUCKETS], *leftover;
static int client, deaths, lifeline[2];

static void add(pid_t pid, const char *id) {
	struct sandbox *made = malloc(sizeof *made);
	if (!made)
		_exit(1); /* every sandbox dies with us, and the client starts anew */
	struct sandbox **bucket = &alive[pid % BUCKETS];
	*made = (struct sandbox){.next = *bucket, .pid = pid};
	snprintf(made->id, sizeof made->id, "%s", id);
	*bucket = made;
}

/* A group can be busy for a moment after the last process in it was reaped. */
static void remove_leftovers(void) {
	for (struct sandbox **at = &leftover; *at;) {
		struct sandbox *gone = *at;
		if (!remove_groups(gone->id)) {
			at = &gone->next;
			continue;
		}
		*at = gone->next;
		free(gone);
	}
}

static void reap(void) {
	struct signalfd_siginfo ignored[8];
	while (read(deaths, ignored, sizeof ignored) > 0)
		;
	for (pid_t pid; (pid = waitpid(-1, NULL, WNOHANG)) > 0;)
		for (struct sandbox **at = &alive[pid % BUCKETS]; *at; at = &(*at)->next)
			if ((*at)->pid == pid) {
				struct sandbox *gone = *at;
				*at = gone->next;
				gone->next = leftover;
				leftover = gone;
				break;
			}
	remove_leftovers();
}

/* In the new process: let go of what is the spawner's, and become the sandbox. */
static void inside(const struct message *request, int control, int gate) {
	close(client);
	close(deaths);
	close(lifeline[1]);
	struct plan plan = {.request = request, .control = control, .gate = gate, .lifeline = lifeline[0], .listener = -1};
	plan.share_network = !strcmp(field(request, "network"), "host");
	contain(&plan);
}

/* Detached mounts of all that the request names, made here because the sandbox's root may not be permitted to look up
 * the paths: on layers and upper its ids own what the image's ids own. How many, or -1. */
static int open_trees(const struct message *request, pid_t pid, int *trees) {
	static const struct {
		const char *field;
		bool mapped;
	} kinds[] = {{"layer", true}, {"upper", true}, {"mount", false}};
	char path[64];
	int count = 0;
	snprintf(path, sizeof path, "/proc/%d/ns/user", pid);
	int userns = open(path, O_RDONLY | O_CLOEXEC);
	bool good = userns >= 0;
	for (size_t kind = 0; kind < LENGTH(kinds); kind++)
		for (const char *source = NULL; good && count < MOST_DESCRIPTORS && (source = next(request, kinds[kind].field, source));) {
			trees[count] = clone_tree(source, !kinds[kind].mapped);
			good = trees[count] >= 0 && (!kinds[kind].mapped || map_tree(trees[count], userns));
			count += trees[count] >= 0;
		}
	int code = errno;
	close(userns);
	while (!good && count)
		close(trees[--count]);
	errno = code;
	return good ? count : -1;
}

/* The sandbox sets itself up while its control groups are made. */
static bool open_gate(const struct message *request, pid_t pid, int gate) {
	int trees[MOST_DESCRIPTORS], count = 0;
	long long base = number(request, "base", 0); /* 0: one id, the maker's */
	if (!write_maps(pid, base))
		return false;
	if (base > 0 && (count = open_trees(request, pid, trees)) < 0)
		return false;
	bool good = send_number(gate, "go", 1, trees, count);
	while (count)
		close(trees[--count]);
	return good && make_groups(field(request, "id"), request, pid) && write_all(gate, "limited", 7);
}

static pid_t new_process(const struct message *request, int *pidfd) {
	unsigned long flags = CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_PIDFD | SIGCHLD;
	if (strcmp(field(request, "network"), "host"))
		flags |= CLONE_NEWNET;
	return (pid_t)syscall(SYS_clone, flags, NULL, pidfd, NULL, 0);
}

static void create(struct message *request) {
	int control[2], gate[2], pidfd = -1;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, control)) {
		send_error(client, "socketpair", errno);
		return;
	}
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, gate)) {
		send_error(client, "socketpair", errno);
		close(control[0]), close(control[1]);
		return;
	}
	pid_t pid = new_process(request, &pidfd);
	if (pid == 0) {
		close(control[0]), close(gate[0]);
		inside(request, control[1], gate[1]);
	}
	int code = errno;
	close(control[1]), close(gate[1]);
	if (pid > 0)
		add(pid, field(request, "id"));
	if (pid > 0 && open_gate(request, pid, gate[0])) {
		int theirs[] = {control[0], pidfd};
		send_number(client, "pid", pid, theirs, 2);
	} else {
		code = pid < 0 ? code : errno;
		if (pid > 0)
			kill(pid, SIGKILL);
		send_error(client, pid < 0 ? "clone into new namespaces" : "give a sandbox its ids, limits and layers", code);
	}
	close(gate[0]), close(control[0]);
	if (pidfd >= 0)
		close(pidfd);
}

/* The client is gone: nothing of ours may stay. */
static void end(void) {
	bool left = true;
	for (time_t last = time(NULL) + LAST_SECONDS; left && time(NULL) < last; usleep(1000)) {
		left = leftover != NULL;
		for (size_t i = 0; i < BUCKETS; i++)
			for (struct sandbox *at = alive[i]; at; at = at->next)
				left = true, kill(at->pid, SIGKILL);
		reap();
	}
	_exit(0);
}

int main(int count, char **arguments) {
	sigset_t child;
	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	sigprocmask(SIG_BLOCK, &child, NULL);
	prctl(PR_SET_NAME, "cwm-env");
	if (count == 2 && !strcmp(arguments[1], "container"))
		serve_container();
	if (count < 2 || (deaths = signalfd(-1, &child, SFD_CLOEXEC | SFD_NONBLOCK)) < 0 || pipe2(lifeline, O_CLOEXEC))
		return 1;
	client = atoi(arguments[1]);
	fcntl(client, F_SETFD, FD_CLOEXEC);
	cgroups_are_in(arguments + 2, count - 2);
	struct pollfd ready[] = {{client, POLLIN, 0}, {deaths, POLLIN, 0}};
	for (;;) {
		poll(ready, LENGTH(ready), leftover ? 5 : -1);
		if (ready[1].revents || leftover)
			reap();
		if (!ready[0].revents)
			continue;
		static struct message request; /* large, and the child goes on reading it */
		if (!receive(client, &request))
			end();
		if (field(&request, "id") && field(&request, "network"))
			create(&request);
		else
			send_error(client, "a request without id and network", EINVAL);
		forget(&request);
	}
}
