/* Pid 1 of a container that another engine made (Docker with runc, gVisor, Kata): the same requests as in our own
 * sandboxes, but one byte stream each way, the container's standard input and output, carries them and the streams of
 * all processes. So it works wherever the engine runs, and whatever kernel lies below the container. */

#include "container.h"

#include <arpa/inet.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>

static const char *const scratch[] = {"/tmp", "/run", "/dev/shm", NULL};
static int replies; /* our own end of the socket that init.c answers on */

static void start(const struct message *request, struct message *reply) {
	uint32_t process_number = (uint32_t)number(request, "number", 0);
	struct process *made = process_number && reply->count == 4 ? carry(process_number) : NULL;
	if (!made)
		return;
	made->to = reply->descriptors[0];
	made->out.from = reply->descriptors[1], made->err.from = reply->descriptors[2];
	made->exited = reply->descriptors[3];
	reply->count = 0;
	fcntl(made->out.from, F_SETFL, O_NONBLOCK);
	fcntl(made->err.from, F_SETFL, O_NONBLOCK);
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

static void take_frame(struct plan *plan, uint8_t kind, uint32_t process_number, const char *data, size_t size) {
	if (process_number)
		take_stream(kind, process_number, data, size);
	else
		take_request(plan, data, size);
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
	for (int i = 0; scratch[i]; i++) /* engines give what they mount there the mode that the image's directory has */
		chmod(scratch[i], 01777);
	contain_self(&plan, 0);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
		_exit(1);
	plan.first_private = plan.control = pair[0], replies = pair[1];
	int door = open_door(&limits);
	say_ready();
	for (;;) {
		ready.count = 0;
		watch(&ready, 0, POLLIN);
		watch(&ready, deaths, POLLIN);
		watch(&ready, door, door < 0 ? 0 : POLLIN);
		size_t first = ready.count;
		watch_streams(&ready);
		poll(ready.at, ready.count, -1);
		if (ready.at[1].revents)
			reap_started();
		move_streams(ready.at + first); /* first, for the others start and forget processes */
		if (ready.at[0].revents)
			take_frames(&plan, take_frame);
		if (ready.at[2].revents)
			take_connections(door);
	}
}
