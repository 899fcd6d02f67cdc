/* Messages over a unix stream socket: a length, fields, and descriptors beside them. */

#include "native.h"

#include <arpa/inet.h>
#include <sys/socket.h>
#include <sys/uio.h>

#define LARGEST (16 << 20)

bool write_all(int descriptor, const void *data, size_t size) {
	const char *at = data;
	while (size) {
		ssize_t wrote = write(descriptor, at, size);
		if (wrote < 0 && errno == EINTR)
			continue;
		if (wrote < 0)
			return false;
		at += wrote, size -= (size_t)wrote;
	}
	return true;
}

bool read_all(int descriptor, void *data, size_t size) {
	char *at = data;
	while (size) {
		ssize_t got = read(descriptor, at, size);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return false;
		at += got, size -= (size_t)got;
	}
	return true;
}

bool receive(int sock, struct message *message) {
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(sizeof(int) * MOST_DESCRIPTORS)];
	} beside;
	uint32_t length;
	struct iovec head = {&length, sizeof length};
	struct msghdr header = {
	    .msg_iov = &head, .msg_iovlen = 1, .msg_control = beside.space, .msg_controllen = sizeof beside.space};
	message->data = NULL, message->size = 0, message->count = 0;
	ssize_t got;
	do
		got = recvmsg(sock, &header, MSG_CMSG_CLOEXEC | MSG_WAITALL);
	while (got < 0 && errno == EINTR);
	if (got != sizeof length)
		return false;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&header); c; c = CMSG_NXTHDR(&header, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		message->count = (int)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
		memcpy(message->descriptors, CMSG_DATA(c), (size_t)message->count * sizeof(int));
	}
	message->size = ntohl(length);
	if (message->size > LARGEST || !(message->data = take_pages(message->size + 1)) ||
	    !read_all(sock, message->data, message->size)) {
		forget(message);
		return false;
	}
	message->data[message->size] = 0;
	return true;
}

void forget(struct message *message) {
	give_pages(message->data, message->size + 1);
	message->data = NULL, message->size = 0;
	for (int i = 0; i < message->count; i++)
		if (message->descriptors[i] >= 0)
			close(message->descriptors[i]);
	message->count = 0;
}

const char *next(const struct message *message, const char *name, const char *after) {
	const char *at = after ? after + strlen(after) + 1 : message->data, *end = message->data + message->size;
	size_t length = strlen(name);
	for (; at < end; at += strlen(at) + 1)
		if (!strncmp(at, name, length) && at[length] == '=')
			return at + length + 1;
	return NULL;
}

const char *field(const struct message *message, const char *name) { return next(message, name, NULL); }

long long number(const struct message *message, const char *name, long long otherwise) {
	const char *text = field(message, name);
	return text ? strtoll(text, NULL, 10) : otherwise;
}

bool send_fields(int sock, const char *text, size_t size, const int *descriptors, int count) {
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(sizeof(int) * MOST_DESCRIPTORS)];
	} beside;
	uint32_t length = htonl((uint32_t)size);
	struct iovec parts[] = {{&length, sizeof length}, {(void *)text, size}};
	struct msghdr header = {.msg_iov = parts, .msg_iovlen = 2};
	if (count) {
		size_t bytes = (size_t)count * sizeof(int);
		memset(&beside, 0, CMSG_SPACE(bytes));
		header.msg_control = beside.space, header.msg_controllen = CMSG_SPACE(bytes);
		struct cmsghdr *c = CMSG_FIRSTHDR(&header);
		c->cmsg_level = SOL_SOCKET, c->cmsg_type = SCM_RIGHTS, c->cmsg_len = CMSG_LEN(bytes);
		memcpy(CMSG_DATA(c), descriptors, bytes);
	}
	ssize_t sent = sendmsg(sock, &header, MSG_NOSIGNAL);
	return sent == (ssize_t)(size + sizeof length); /* answers are far smaller than a socket's buffer */
}

bool send_number(int sock, const char *name, long long value, const int *descriptors, int count) {
	char text[64];
	int size = snprintf(text, sizeof text, "%s=%lld", name, value) + 1;
	return send_fields(sock, text, (size_t)size, descriptors, count);
}

bool send_echo(int sock, const struct message *request) {
	char text[128];
	int size = snprintf(text, sizeof text, "echo=%.100s", field(request, "echo")) + 1;
	return send_fields(sock, text, (size_t)size, NULL, 0);
}

bool send_error(int sock, const char *step, int code) {
	char text[1024];
	int size = snprintf(text, sizeof text - 32, "error=%.800s: %s", step, strerror(code)) + 1;
	size += snprintf(text + size, sizeof text - (size_t)size, "errno=%d", code) + 1;
	return send_fields(sock, text, (size_t)size, NULL, 0);
}
