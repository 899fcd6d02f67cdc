/* The builtin that bash loads (shell/loop.c) lies within this program, and is given out as a file in memory: one for
 * all sandboxes, so that its pages are there already, and sealed, so that none of them can change it for another. */

#include "native.h"

#include <sys/mman.h>

__asm__(".section .rodata\n"
        ".global shell_loop, shell_loop_end\n"
        "shell_loop: .incbin \"" LOOP "\"\n"
        "shell_loop_end:\n"
        ".previous");

extern const char shell_loop[], shell_loop_end[];

static int file SMALL = -1;

void hold_shell_loop(void) {
	const int seals = F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;
	file = memfd_create("cwm-env shell loop", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (file >= 0 && (!write_all(file, shell_loop, (size_t)(shell_loop_end - shell_loop)) || fcntl(file, F_ADD_SEALS, seals))) {
		close(file);
		file = -1;
	}
}

bool give_shell_loop(int descriptor) {
	if (file == descriptor)
		return !fcntl(file, F_SETFD, 0);
	return file >= 0 && dup2(file, descriptor) == descriptor;
}
