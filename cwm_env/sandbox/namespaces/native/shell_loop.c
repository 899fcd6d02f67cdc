/* The builtin that bash loads (shell/loop.c) lies within this program, and is given out as a file in memory: one for
 * all sandboxes, so that its pages are there already. None of them can change it for another: it is sealed. */

#include "native.h"

#include <sys/mman.h>
#include <sys/stat.h>

__asm__(".section .rodata\n"
        ".global shell_loop, shell_loop_end\n"
        "shell_loop: .incbin \"" LOOP "\"\n"
        "shell_loop_end:\n"
        ".previous");

extern const char shell_loop[], shell_loop_end[];

static int shared SMALL = -1;

static int made(void) {
	const int seals = F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;
	int file = memfd_create("cwm-env shell loop", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (file >= 0 && write_all(file, shell_loop, (size_t)(shell_loop_end - shell_loop)) &&
	    !fcntl(file, F_ADD_SEALS, seals) && !fchmod(file, 0555))
		return file;
	close(file);
	return -1;
}

void hold_shell_loop(void) {
	shared = made();
}

bool give_shell_loop(int descriptor) {
	int file = many_ids() ? shared : made(); /* a sandbox whose root is the maker could take the rights from the others */
	if (file == descriptor)
		return !fcntl(file, F_SETFD, 0);
	return file >= 0 && dup2(file, descriptor) == descriptor;
}
