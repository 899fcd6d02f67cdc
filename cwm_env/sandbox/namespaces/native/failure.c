/* How a step of the set-up says that it failed. */

#include "native.h"

static int report_to SMALL;

void report_failures_to(int control) {
	report_to = control;
}

void fail(const char *step) {
	int code = errno;
	if (!send_error(report_to, step, code))
		dprintf(2, "%s: %s\n", step, strerror(code));
	_exit(1);
}

void fail_image(const char *path, const char *why) {
	char text[512];
	int size = snprintf(text, sizeof text, "error=the image cannot be used: %.300s %s", path, why) + 1;
	send_fields(report_to, text, (size_t)size, NULL, 0);
	_exit(1);
}
