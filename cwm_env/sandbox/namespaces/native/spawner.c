/* The process that makes sandboxes: small, with one thread, asked over a socket.
 *
 * Never a fork of the caller: forking a trainer of many gigabytes would cost a hundred times the sandbox. It holds no
 * descriptor per sandbox, for each would be copied at every fork. It ends when its client closes the socket, and every
 * sandbox dies with it. */

#include "native.h"

#include <linux/sched.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#define BUCKETS 1024
#define MOST_SANDBOXES 65536 /* there are no more ranges of ids */
#define LAST_SECONDS 10
#define MOST_UNSEEN 64
#define PAUSE_MILLISECONDS 5

struct sandbox {
	struct sandbox *next;
	pid_t pid; /* 0 once it is dead and only its control groups are left */
	char id[44];
};

/* All of them, in memory of the spawner alone. */
static struct book {
	struct sandbox *alive[BUCKETS], *leftover, *unused;
	size_t used;
	struct sandbox room[MOST_SANDBOXES];
} *book SMALL;
static int client SMALL, deaths SMALL, lifeline[2] SMALL, unseen SMALL;

static bool open_book(void) {
	if (!(book = take_pages(sizeof *book)))
		return false;
	keep_from_children(book, sizeof *book);
	return true;
}

static void add(pid_t pid, const char *id) {
	struct sandbox *made = book->unused;
	if (made)
		book->unused = made->next;
	else if (book->used < MOST_SANDBOXES)
		made = &book->room[book->used++];
	else
		_exit(1); /* every sandbox dies with us, and the client starts anew */
	struct sandbox **bucket = &book->alive[pid % BUCKETS];
	*made = (struct sandbox){.next = *bucket, .pid = pid};
	snprintf(made->id, sizeof made->id, "%s", id);
	*bucket = made;
}

/* A group can be busy for a moment after the last process in it was reaped. */
static void remove_leftovers(void) {
	for (struct sandbox **at = &book->leftover; *at;) {
		struct sandbox *gone = *at;
		if (!remove_groups(gone->id)) {
			at = &gone->next;
			continue;
		}
		*at = gone->next;
		gone->next = book->unused;
		book->unused = gone;
	}
}

static void bury(pid_t pid) {
	for (struct sandbox **at = &book->alive[pid % BUCKETS]; *at; at = &(*at)->next)
		if ((*at)->pid == pid) {
			struct sandbox *gone = *at;
			*at = gone->next;
			gone->next = book->leftover;
			book->leftover = gone;
			return;
		}
}

/* To wait for any child, the kernel looks at each of them; to wait for one that a signal names, at that one. Signals
 * that come together are one signal, though: where `unseen` is not 0, others may have died. */
static void reap(bool everyone) {
	struct signalfd_siginfo died[8];
	ssize_t size;
	pid_t pid;
	while ((size = read(deaths, died, sizeof died)) > 0)
		for (size_t i = 0; i < (size_t)size / sizeof *died; i++, unseen++)
			if ((pid = waitpid((pid_t)died[i].ssi_pid, NULL, WNOHANG)) > 0)
				bury(pid);
	if (everyone || unseen >= MOST_UNSEEN) {
		unseen = 0;
		while ((pid = waitpid(-1, NULL, WNOHANG)) > 0)
			bury(pid);
	}
	remove_leftovers();
}

/* In the new process: let go of what is the spawner's, and become the sandbox. */
static void inside(struct message *request, int control, int gate) {
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

static bool open_gate(const struct message *request, pid_t pid, int gate) {
	int trees[MOST_DESCRIPTORS], count = 0;
	long long base = number(request, "base", 0); /* 0: one id, the maker's */
	if (!write_maps(pid, base))
		return false;
	if (base > 0 && (count = open_trees(request, pid, trees)) < 0)
		return false;
	send_number(gate, "go", 1, trees, count); /* where nobody reads any more, the sandbox has told the client why */
	while (count)
		close(trees[--count]);
	return true;
}

static pid_t new_process(const struct message *request, int *pidfd) {
	struct clone_args arguments = {
	    .flags = CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_PIDFD,
	    .pidfd = (uint64_t)(uintptr_t)pidfd,
	    .exit_signal = SIGCHLD,
	};
	if (strcmp(field(request, "network"), "host"))
		arguments.flags |= CLONE_NEWNET;
	if (group_to_be_born_in() >= 0) {
		arguments.flags |= CLONE_INTO_CGROUP;
		arguments.cgroup = (uint64_t)group_to_be_born_in();
	}
	return (pid_t)syscall(SYS_clone3, &arguments, sizeof arguments);
}

static void refuse(const char *step, const char *id) {
	int code = errno;
	send_error(client, step, code);
	remove_groups(id);
}

/* In between the process and its client: true once the sandbox is on its way, and the client has what it needs. */
static bool hand_over(const struct message *request, pid_t pid, int pidfd, int control, int gate) {
	const int theirs[] = {control, pidfd};
	if (open_gate(request, pid, gate))
		return send_number(client, "pid", pid, theirs, 2);
	send_error(client, "give a sandbox its ids and layers", errno);
	return false;
}

static void create(struct message *request) {
	const char *id = field(request, "id");
	int control[2] = {-1, -1}, gate[2] = {-1, -1}, pidfd = -1;
	pid_t pid = -1;
	if (!make_groups(id, request))
		refuse("make control groups", id);
	else if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, control) ||
	         socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, gate))
		refuse("socketpair", id);
	else if ((pid = new_process(request, &pidfd)) < 0)
		refuse("clone into new namespaces", id);
	if (pid == 0) {
		close(control[0]), close(gate[0]);
		inside(request, control[1], gate[1]);
	}
	if (pid > 0) {
		add(pid, id);
		close(control[1]), close(gate[1]); /* so that its death is noticed at our end of the gate */
		control[1] = gate[1] = -1;
		if (!hand_over(request, pid, pidfd, control[0], gate[0]))
			kill(pid, SIGKILL);
	}
	const int ours[] = {control[0], control[1], gate[0], gate[1], pidfd};
	for (size_t i = 0; i < LENGTH(ours); i++)
		if (ours[i] >= 0)
			close(ours[i]);
	close_groups();
}

/* The client is gone: nothing of ours may stay. */
static void end(void) {
	bool left = true;
	for (time_t last = time(NULL) + LAST_SECONDS; left && time(NULL) < last; usleep(1000)) {
		left = book->leftover != NULL;
		for (size_t i = 0; i < BUCKETS; i++)
			for (struct sandbox *at = book->alive[i]; at; at = at->next)
				left = true, kill(at->pid, SIGKILL);
		reap(true);
	}
	_exit(0);
}

int main(int count, char **arguments) {
	sigset_t child;
	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	sigprocmask(SIG_BLOCK, &child, NULL);
	for (int number = 1; number < NSIG; number++)
		signal(number, SIG_DFL); /* what nohup, or a shell that runs us in the background, ignores is for no sandbox */
	signal(SIGPIPE, SIG_IGN); /* a sandbox may die while we speak to it */
	prctl(PR_SET_NAME, "cwm-env");
	hold_shell_loop();
	if (count == 2 && !strcmp(arguments[1], "container"))
		serve_container();
	if (count < 2 || (deaths = signalfd(-1, &child, SFD_CLOEXEC | SFD_NONBLOCK)) < 0 || pipe2(lifeline, O_CLOEXEC) ||
	    !open_book())
		return 1;
	client = atoi(arguments[1]);
	fcntl(client, F_SETFD, FD_CLOEXEC);
	cgroups_are_in(arguments + 2, count - 2);
	struct pollfd ready[] = {{client, POLLIN, 0}, {deaths, POLLIN, 0}};
	for (;;) {
		int woken = poll(ready, LENGTH(ready), book->leftover || unseen ? PAUSE_MILLISECONDS : -1);
		if (ready[1].revents || book->leftover || unseen)
			reap(woken == 0);
		if (!ready[0].revents)
			continue;
		static struct message request SMALL; /* large, and the child goes on reading it */
		if (!receive(client, &request))
			end();
		if (field(&request, "id") && field(&request, "network"))
			create(&request);
		else if (field(&request, "echo"))
			send_echo(client, &request);
		else
			send_error(client, "a request without id and network", EINVAL);
		forget(&request);
	}
}
