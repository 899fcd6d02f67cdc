/* What the files of a container's pid 1 share: frames.c, streams.c, door.c and container.c, which composes them. */

#ifndef CWM_CONTAINER_H
#define CWM_CONTAINER_H

#include "native.h"

#define WINDOW (256 << 10)
#define PIECE (32 << 10)

/* frames.c: what travels between pid 1 and the client. */

enum {
	DATA = 'd', ERROR = 'e', END_DATA = 'D', END_ERROR = 'E', EXITED = 'x', CREDIT = 'c', CREDIT_ERROR = 'C',
	CLOSE = 'k', CONNECTED = 'o'
};

struct frame {
	uint8_t kind, unused;
	uint16_t length;
	uint32_t number;
};

void send_frame(uint8_t kind, uint32_t number, const void *data, size_t size);
/* The client may send so many bytes more. */
void send_credit(uint32_t number, uint32_t count);
/* Read what has come, and give each whole frame to `take`. */
void take_frames(struct plan *plan, void (*take)(struct plan *, uint8_t, uint32_t, const char *, size_t));

/* streams.c: the streams of processes, and of connections to the proxy, which are processes without an end. */

struct stream {
	int from;           /* the descriptor that is read, or -1 */
	long long credit;   /* bytes that the client takes */
	long long owed;     /* bytes that must be sent before what waits for them */
};

struct process {
	struct process *next;
	uint32_t number;
	bool connection;             /* it lasts until both directions have ended */
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

struct ready {
	struct pollfd *at;
	size_t count, room;
};

/* A process or connection with nothing open yet, known by its number; NULL without memory. */
struct process *carry(uint32_t number);
/* A frame that is not part of the conversation. */
void take_stream(uint8_t kind, uint32_t number, const char *data, size_t size);
void watch(struct ready *ready, int descriptor, short events);
/* What to poll for all streams; `move_streams` gets the first of these once they were polled. */
void watch_streams(struct ready *ready);
void move_streams(const struct pollfd *polled);
int connections(void);

/* door.c: where names are allowed, programs reach the proxy by connecting to pid 1. */

/* Listen, if the first message says so; -1 if not. */
int open_door(const struct message *limits);
void take_connections(int door);

#endif
