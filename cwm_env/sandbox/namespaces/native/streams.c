/* The streams of all processes and connections. Each may be ahead of its reader by WINDOW bytes, so that a stream that
 * nobody reads holds up no other.
 *
 * Two orders are kept, because sessions rely on them: what a process wrote to its output before something came on its
 * standard error is sent before that, and its exit status is sent after all that it wrote before it ended. */

#include "container.h"

#include <arpa/inet.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

static struct process *processes;

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
	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (got <= 0) { /* a connection may also be reset */
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
	if (process->input_ended && process->to >= 0) {
		shutdown(process->to, SHUT_WR); /* a connection's other direction goes on */
		close_one(&process->to);
	}
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
	if (process->connection && process->to >= 0)
		return;
	if (process->exited < 0 && !process->has_code && process->out.from < 0 && process->err.from < 0 && process->held_size < 0)
		forget_process(process);
}

struct process *carry(uint32_t number) {
	struct process *made = calloc(1, sizeof *made);
	if (!made)
		return NULL;
	made->number = number;
	made->to = made->exited = made->out.from = made->err.from = -1;
	made->out.credit = made->err.credit = WINDOW;
	made->held_size = -1;
	made->next = processes;
	return processes = made;
}

int connections(void) {
	int count = 0;
	for (const struct process *at = processes; at; at = at->next)
		count += at->connection;
	return count;
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

void take_stream(uint8_t kind, uint32_t process_number, const char *data, size_t size) {
	uint32_t count = 0;
	struct process *process = find(process_number);
	if (!process)
		return;
	if (size == sizeof count)
		memcpy(&count, data, sizeof count);
	switch (kind) {
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

void watch(struct ready *ready, int descriptor, short events) {
	if (ready->count == ready->room) {
		ready->room = ready->room ? 2 * ready->room : 64;
		if (!(ready->at = realloc(ready->at, ready->room * sizeof *ready->at)))
			_exit(1);
	}
	ready->at[ready->count++] = (struct pollfd){events ? descriptor : -1, events, 0};
}

enum { TO, OUT, ERR, CODE, WATCHED };

void watch_streams(struct ready *ready) {
	for (struct process *at = processes; at; at = at->next) {
		watch(ready, at->to, at->waiting_size ? POLLOUT : 0);
		watch(ready, at->out.from, at->out.credit ? POLLIN : 0);
		watch(ready, at->err.from, at->err.credit && at->held_size < 0 ? POLLIN : 0);
		watch(ready, at->exited, POLLIN);
	}
}

void move_streams(const struct pollfd *polled) {
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
