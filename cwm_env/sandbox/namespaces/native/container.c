/* Pid 1 of a container that another engine made (Docker with runc, gVisor, Kata): the same requests as in our own
 * sandboxes, but one byte stream each way, the container's standard input and output, carries them and the streams of
 * all processes. So it works wherever the engine runs, and whatever kernel lies below the container.
 *
 * A frame is a kind, the length of its payload and the number of a process, which the client chose when it asked for
 * it; number 0 is the conversation of requests and answers. Each stream may be ahead of its reader by WINDOW bytes,
 * so that a stream that nobody reads holds up no other.
 *
 * Two orders are kept, because sessions rely on them: what a process wrote to its output before something came on its
 * standard error is sent before that, and its exit status is sent after all that it wrote before it ended. */

#include "native.h"

#include <arpa/inet.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>

#define WINDOW (256 << 10)
#define PIECE (32 << 10)

enum { DATA = 'd', ERROR = 'e', END_DATA = 'D', END_ERROR = 'E', EXITED = 'x', CREDIT = 'c', CREDIT_ERROR = 'C', CLOSE = 'k' };

struct frame {
	uint8_t kind, unused;
	uint16_t length;
	uint32_t number;
};

struct stream {
	int from;           /* the descriptor that is read, or -1 */
	long long credit;   /* bytes that the client takes */
	long long owed;     /* bytes that must be sent before what waits for them */
};

struct process {
	struct process *next;
	uint32_t number;
	int to, exited;              /* standard input; where its exit status comes from */
	struct stream out, err;
	char *waiting;               /* for standard input */
	size_t waiting_size;
	bool input_ended;
	char held[PIECE];            /* of standard error, until what came before it on the output is sent */
	ssize_t held_size;           /* -1: nothing is held; 0: its end is */
	bool has_code;
	int32_t code;
};

static struct process *processes;
static int replies; /* our own end of the socket that init.c answers on */

static void send_frame(uint8_t kind, uint32_t number, const void *data, size_t size) {
	struct frame frame = {kind, 0, htons((uint16_t)size), htonl(number)};
	char whole[sizeof frame + PIECE];
	memcpy(whole, &frame, sizeof frame);
	memcpy(whole + sizeof frame, data, size);
	if (!write_all(1, whole, sizeof frame + size))
		_exit(0); /* nobody is there any more */
}

static void send_credit(uint32_t number, uint32_t count) {
	count = htonl(count);
	send_frame(CREDIT, number, &count, sizeof count);
}

static void close_one(int *descriptor) {
	if (*descriptor >= 0)
		close(*descriptor);
	*descriptor = -1;
}

static void forget_process(struct process *gone) {
	for (struct process **at = &processes; *at; at = &(*at)->next)
		if (*at == gone) {
			*at = gone->next;
			break;
		}
	if (gone->to >= 0)
		send_frame(CLOSE, gone->number, NULL, 0); /* whoever still writes to it must learn that nobody reads */
	close_one(&gone->to), close_one(&gone->exited), close_one(&gone->out.from), close_one(&gone->err.from);
	free(gone->waiting);
	free(gone);
}

static struct process *find(uint32_t number) {
	struct process *at = processes;
	while (at && at->number != number)
		at = at->next;
	return at;
}

/* How much lies in a pipe. */
static int pending(int descriptor) {
	int count = 0;
	return descriptor < 0 || ioctl(descriptor, FIONREAD, &count) ? 0 : count;
}

/* Send what a stream has, as far as the client takes it. */
static void forward_output(struct process *process, struct stream *stream, uint8_t kind, uint8_t end) {
	char piece[PIECE];
	size_t most = stream->credit < PIECE ? (size_t)stream->credit : PIECE;
	if (!most)
		return;
	ssize_t got = read(stream->from, piece, most);
	if (got < 0)
		return;
	if (got == 0) {
		close_one(&stream->from);
		stream->owed = 0;
		send_frame(end, process->number, NULL, 0);
		return;
	}
	stream->credit -= got;
	stream->owed -= got < stream->owed ? got : stream->owed;
	send_frame(kind, process->number, piece, (size_t)got);
}

/* Read standard error; what came goes out once the output that was there at that moment has. */
static void hold_error(struct process *process) {
	size_t most = process->err.credit < PIECE ? (size_t)process->err.credit : PIECE;
	if (!most)
		return;
	ssize_t got = read(process->err.from, process->held, most);
	if (got < 0)
		return;
	process->held_size = got;
	process->err.credit -= got;
	process->out.owed = pending(process->out.from);
	if (got == 0)
		close_one(&process->err.from);
}

static void release_error(struct process *process) {
	process->err.owed -= process->held_size < process->err.owed ? process->held_size : process->err.owed;
	send_frame(process->held_size ? ERROR : END_ERROR, process->number, process->held, (size_t)process->held_size);
	if (!process->held_size)
		process->err.owed = 0;
	process->held_size = -1;
}

static void note_exit(struct process *process) {
	if (read(process->exited, &process->code, sizeof process->code) != sizeof process->code)
		process->code = 128 + SIGKILL;
	close_one(&process->exited);
	process->has_code = true;
	process->err.owed = pending(process->err.from) + (process->held_size > 0 ? process->held_size : 0);
	process->out.owed = pending(process->out.from);
}

static void write_input(struct process *process) {
	while (process->to >= 0 && process->waiting_size) {
		ssize_t wrote = send(process->to, process->waiting, process->waiting_size, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (wrote < 0 && errno == EAGAIN)
			return;
		if (wrote < 0) { /* it does not read any more: what comes is dropped, and the client sees its end closed */
			send_frame(CLOSE, process->number, NULL, 0);
			close_one(&process->to);
			return;
		}
		memmove(process->waiting, process->waiting + wrote, process->waiting_size -= (size_t)wrote);
		send_credit(process->number, (uint32_t)wrote);
	}
	if (process->input_ended)
		close_one(&process->to);
}

/* Move everything on that can be; afterwards the process may be gone. */
static void settle(struct process *process) {
	if (process->held_size >= 0 && !process->out.owed)
		release_error(process);
	if (process->has_code && !process->out.owed && !process->err.owed && process->held_size < 0) {
		int32_t code = (int32_t)htonl((uint32_t)process->code);
		send_frame(EXITED, process->number, &code, sizeof code);
		process->has_code = false;
	}
	if (process->exited < 0 && !process->has_code && process->out.from < 0 && process->err.from < 0 && process->held_size < 0)
		forget_process(process);
}

static void start(const struct message *request, struct message *reply) {
	uint32_t process_number = (uint32_t)number(request, "number", 0);
	struct process *made = process_number ? calloc(1, sizeof *made) : NULL;
	if (!made || reply->count != 4)
		return free(made);
	made->number = process_number;
	made->to = reply->descriptors[0];
	made->out.from = reply->descriptors[1], made->err.from = reply->descriptors[2];
	made->exited = reply->descriptors[3];
	made->out.credit = made->err.credit = WINDOW;
	made->held_size = -1;
	reply->count = 0;
	fcntl(made->out.from, F_SETFL, O_NONBLOCK);
	fcntl(made->err.from, F_SETFL, O_NONBLOCK);
	made->next = processes;
	processes = made;
}

/* Where the kernel shows what it counted for the container: the one that is there, of cgroup v1 and v2. */
static const char *const counters[][2] = {{"v1.memory.max_usage_in_bytes", "memory/memory.max_usage_in_bytes"},
                                          {"v1.memory.oom_control", "memory/memory.oom_control"},
                                          {"v1.cpuacct.usage", "cpuacct/cpuacct.usage"},
                                          {"v1.cpu.stat", "cpu/cpu.stat"},
                                          {"v1.pids.events", "pids/pids.events"},
                                          {"v2.memory.peak", "memory.peak"},
                                          {"v2.memory.events", "memory.events"},
                                          {"v2.cpu.stat", "cpu.stat"},
                                          {"v2.pids.events", "pids.events"}};

static void answer_counters(const struct plan *plan) {
	static char text[16384];
	size_t size = 0;
	unsigned long long used = 0, left = 0, inodes = 0;
	struct work alive = work_of_processes();
	for (size_t i = 1; i < LENGTH(plan->written); i++) {
		struct statvfs disk;
		if (plan->written[i] < 0 || fstatvfs(plan->written[i], &disk))
			continue;
		used += (unsigned long long)(disk.f_blocks - disk.f_bfree) * disk.f_frsize;
		unsigned long long here = (unsigned long long)disk.f_bfree * disk.f_frsize;
		if (i == 1)
			left = here, inodes = disk.f_files ? disk.f_ffree : INT64_MAX; /* gVisor counts none */
	}
	size = (size_t)snprintf(text, sizeof text,
	                        "cpu_us=%lld%cdisk_used=%llu%cdisk_free=%llu%cinodes_free=%llu%cfiles_full=%d",
	                        alive.cpu_us, 0, used, 0, left, 0, inodes, 0, alive.full) + 1;
	for (size_t i = 0; i < LENGTH(counters); i++) {
		char path[128], content[1024];
		snprintf(path, sizeof path, "/sys/fs/cgroup/%s", counters[i][1]);
		if (read_file(path, content, sizeof content) > 0)
			size += (size_t)snprintf(text + size, sizeof text - size, "%s=%s", counters[i][0], content) + 1;
	}
	send_fields(plan->control, text, size, NULL, 0);
}

/* A request that has come whole: init.c answers on a socket of our own, and the answer is passed on. */
static void converse(struct plan *plan, char *text, size_t size) {
	struct message request = {.data = text, .size = size}, reply;
	const char *what = field(&request, "do");
	if (what && !strcmp(what, "usage"))
		answer_counters(plan);
	else
		answer(plan, &request);
	if (!receive(replies, &reply))
		_exit(1);
	if (what && !strcmp(what, "spawn"))
		start(&request, &reply);
	uint32_t length = htonl((uint32_t)reply.size);
	send_frame(DATA, 0, &length, sizeof length);
	for (size_t at = 0; at < reply.size; at += PIECE)
		send_frame(DATA, 0, reply.data + at, reply.size - at < PIECE ? reply.size - at : PIECE);
	forget(&reply);
}

/* Requests are a stream of their own: a length and that many bytes each. */
static void take_request(struct plan *plan, const char *data, size_t size) {
	static char *text;
	static size_t used;
	char *larger = realloc(text, used + size + 1);
	if (!larger)
		_exit(1);
	text = larger;
	memcpy(text + used, data, size);
	used += size;
	while (used >= 4) {
		uint32_t length;
		memcpy(&length, text, sizeof length);
		length = ntohl(length);
		if (used < 4 + (size_t)length)
			return;
		char after = text[4 + length];
		text[4 + length] = 0;
		converse(plan, text + 4, length);
		text[4 + length] = after;
		memmove(text, text + 4 + length, used -= 4 + length);
	}
}

static void take_input(struct process *process, const char *data, size_t size) {
	char *larger = process->to < 0 ? NULL : realloc(process->waiting, process->waiting_size + size);
	if (!larger)
		return;
	process->waiting = larger;
	memcpy(larger + process->waiting_size, data, size);
	process->waiting_size += size;
	write_input(process);
}

static void take_frame(struct plan *plan, const struct frame *frame, const char *data, size_t size) {
	uint32_t process_number = ntohl(frame->number), count = 0;
	if (!process_number)
		return take_request(plan, data, size);
	struct process *process = find(process_number);
	if (!process)
		return;
	if (size == sizeof count)
		memcpy(&count, data, sizeof count);
	switch (frame->kind) {
	case DATA:
		return take_input(process, data, size);
	case END_DATA:
		process->input_ended = true;
		return write_input(process);
	case CREDIT:
		process->out.credit += ntohl(count);
		break;
	case CREDIT_ERROR:
		process->err.credit += ntohl(count);
		break;
	case CLOSE:
		forget_process(process);
	}
}

static void take_frames(struct plan *plan) {
	static char buffer[1 << 18];
	static size_t used;
	ssize_t got = read(0, buffer + used, sizeof buffer - used);
	if (got <= 0)
		_exit(0); /* the client is gone, and everything here with it */
	used += (size_t)got;
	size_t at = 0;
	struct frame frame;
	while (used - at >= sizeof frame) {
		memcpy(&frame, buffer + at, sizeof frame);
		size_t size = ntohs(frame.length);
		if (used - at < sizeof frame + size)
			break;
		take_frame(plan, &frame, buffer + at + sizeof frame, size);
		at += sizeof frame + size;
	}
	memmove(buffer, buffer + at, used -= at);
}

struct ready {
	struct pollfd *at;
	size_t count, room;
};

static void watch(struct ready *ready, int descriptor, short events) {
	if (ready->count == ready->room) {
		ready->room = ready->room ? 2 * ready->room : 64;
		if (!(ready->at = realloc(ready->at, ready->room * sizeof *ready->at)))
			_exit(1);
	}
	ready->at[ready->count++] = (struct pollfd){events ? descriptor : -1, events, 0};
}

enum { TO, OUT, ERR, CODE, WATCHED };

static void watch_all(struct ready *ready, int deaths) {
	ready->count = 0;
	watch(ready, 0, POLLIN);
	watch(ready, deaths, POLLIN);
	for (struct process *at = processes; at; at = at->next) {
		watch(ready, at->to, at->waiting_size ? POLLOUT : 0);
		watch(ready, at->out.from, at->out.credit ? POLLIN : 0);
		watch(ready, at->err.from, at->err.credit && at->held_size < 0 ? POLLIN : 0);
		watch(ready, at->exited, POLLIN);
	}
}

static void move_all(const struct ready *ready) {
	const struct pollfd *polled = ready->at + 2;
	for (struct process *at = processes, *next; at; at = next, polled += WATCHED) {
		next = at->next;
		if (polled[TO].revents)
			write_input(at);
		if (polled[ERR].revents)
			hold_error(at);
		if (polled[CODE].revents)
			note_exit(at);
		if (polled[OUT].revents || at->out.owed)
			forward_output(at, &at->out, DATA, END_DATA);
		settle(at);
	}
}

static void contain_self(struct plan *plan, int control) {
	static const char *const written[] = {"/", "/tmp", "/run", "/dev/shm"};
	for (size_t i = 0; i < LENGTH(written); i++)
		plan->written[i] = open(written[i], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	plan->first_private = control;
	limit_resources(plan->request);
	become_root();
	drop_capabilities();
	no_new_privileges();
	prctl(PR_SET_DUMPABLE, 0);
	signal(SIGPIPE, SIG_IGN);
	umask(022);
}

/* The first message says what the limits are; it is all that is sent before "ready". */
static void receive_limits(struct message *message) {
	uint32_t length;
	if (!read_all(0, &length, sizeof length))
		_exit(0);
	message->size = ntohl(length);
	if (message->size > 65536 || !(message->data = calloc(1, message->size + 1)) || !read_all(0, message->data, message->size))
		_exit(1);
}

static void say_ready(void) {
	char text[64];
	struct timespec now;
	clock_gettime(CLOCK_BOOTTIME, &now);
	int size = snprintf(text, sizeof text, "boot_us=%lld", now.tv_sec * 1000000LL + now.tv_nsec / 1000) + 1;
	uint32_t length = htonl((uint32_t)size);
	send_frame(DATA, 0, &length, sizeof length);
	send_frame(DATA, 0, text, (size_t)size);
}

void serve_container(void) {
	static struct message limits;
	int pair[2], deaths = watch_deaths();
	struct ready ready = {0};
	struct plan plan = {.request = &limits, .listener = -1};
	receive_limits(&limits);
	contain_self(&plan, 0);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
		_exit(1);
	plan.first_private = plan.control = pair[0], replies = pair[1];
	say_ready();
	for (;;) {
		watch_all(&ready, deaths);
		poll(ready.at, ready.count, -1);
		if (ready.at[1].revents)
			reap_started();
		if (ready.at[0].revents)
			take_frames(&plan); /* it may start or forget processes: what was polled of them is then stale */
		else
			move_all(&ready);
	}
}
