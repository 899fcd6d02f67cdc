/* The door of the proxy in a container: pid 1 accepts, and the client, which has the proxy, gets the two streams. */

#include "container.h"

#include <fcntl.h>
#include <sys/socket.h>

#define FIRST_CONNECTION 0x80000000u
#define MOST_CONNECTIONS 128
#define AT_ONCE 16 /* so that who connects all the time holds up nothing else */

int open_door(const struct message *limits) {
	long long port = number(limits, "proxy_port", 0);
	return port ? listen_on_loopback((int)port) : -1;
}

void take_connections(int door) {
	static uint32_t count;
	for (int i = 0, one; i < AT_ONCE && (one = accept4(door, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK)) >= 0; i++) {
		int other = connections() < MOST_CONNECTIONS ? fcntl(one, F_DUPFD_CLOEXEC, 0) : -1;
		struct process *made = other < 0 ? NULL : carry(FIRST_CONNECTION | count++ % FIRST_CONNECTION);
		if (!made) {
			close(one);
			if (other >= 0)
				close(other);
			continue;
		}
		made->connection = true;
		made->to = one, made->out.from = other;
		send_frame(CONNECTED, made->number, NULL, 0);
	}
}
