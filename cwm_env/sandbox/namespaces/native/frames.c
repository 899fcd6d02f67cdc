/* Frames: a kind, the length of the payload, and the number of the process or connection that it belongs to. The client
 * chose it when it asked for the process; numbers from FIRST_CONNECTION on are ours. Number 0 is the conversation. */

#include "container.h"

#include <arpa/inet.h>

void send_frame(uint8_t kind, uint32_t number, const void *data, size_t size) {
	struct frame frame = {kind, 0, htons((uint16_t)size), htonl(number)};
	char whole[sizeof frame + PIECE];
	memcpy(whole, &frame, sizeof frame);
	memcpy(whole + sizeof frame, data, size);
	if (!write_all(1, whole, sizeof frame + size))
		_exit(0); /* nobody is there any more */
}

void send_credit(uint32_t number, uint32_t count) {
	count = htonl(count);
	send_frame(CREDIT, number, &count, sizeof count);
}

void take_frames(struct plan *plan, void (*take)(struct plan *, uint8_t, uint32_t, const char *, size_t)) {
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
		take(plan, frame.kind, ntohl(frame.number), buffer + at + sizeof frame, size);
		at += sizeof frame + size;
	}
	memmove(buffer, buffer + at, used -= at);
}
