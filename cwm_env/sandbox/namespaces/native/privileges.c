/* What processes in a sandbox may not do: capabilities, new privileges, resource limits. */

#include "native.h"

#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>

/* What is worth keeping inside a user namespace, where each reaches only what the sandbox owns: capabilities(7). */
static const int kept[] = {CAP_CHOWN,  CAP_DAC_OVERRIDE, CAP_FOWNER,  CAP_FSETID,           CAP_KILL,
                           CAP_SETGID, CAP_SETUID,       CAP_SETPCAP, CAP_NET_BIND_SERVICE, CAP_SETFCAP};

/* Pid 1 itself must be able to start what its client asks for when the sandbox is full. */
static const rlim_t reserve = 32;
static struct rlimit processes;

void drop_capabilities(void) {
	uint64_t mask = 0;
	for (size_t i = 0; i < LENGTH(kept); i++)
		mask |= UINT64_C(1) << kept[i];
	for (int capability = 0; prctl(PR_CAPBSET_READ, capability) >= 0; capability++)
		if (!(mask >> capability & 1) && prctl(PR_CAPBSET_DROP, capability))
			fail("drop a capability");
	struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
	struct __user_cap_data_struct data[2] = {{(uint32_t)mask, (uint32_t)mask, 0},
	                                         {(uint32_t)(mask >> 32), (uint32_t)(mask >> 32), 0}};
	if (syscall(SYS_capset, &header, data))
		fail("capset");
}

/* Set a limit to `value`, or to the most that is allowed. */
static void set_limit(int which, rlim_t soft, rlim_t hard) {
	struct rlimit now;
	getrlimit(which, &now);
	if (hard > now.rlim_max)
		hard = now.rlim_max;
	struct rlimit wanted = {soft < hard ? soft : hard, hard};
	if (wanted.rlim_cur == now.rlim_cur && wanted.rlim_max == now.rlim_max)
		return; /* gVisor refuses some even then */
	if (setrlimit(which, &wanted))
		fail("setrlimit");
}

/* For every process in the sandbox. The kernel counts processes per user and user namespace. */
void limit_resources(const struct message *request) {
	rlim_t files = (rlim_t)number(request, "files", 65536);
	long long memory = number(request, "address_space", 0), file = number(request, "file_size", 0);
	set_limit(RLIMIT_NOFILE, 1024, files);
	set_limit(RLIMIT_CORE, 0, 0);
	set_limit(RLIMIT_NICE, 0, 0); /* whoever started this may have the right to go ahead of others, and hand it on */
	set_limit(RLIMIT_RTPRIO, 0, 0);
	processes.rlim_cur = processes.rlim_max = (rlim_t)number(request, "processes", 512);
	set_limit(RLIMIT_NPROC, processes.rlim_max + reserve, processes.rlim_max + reserve);
	if (memory)
		set_limit(RLIMIT_AS, (rlim_t)memory, (rlim_t)memory);
	if (file)
		set_limit(RLIMIT_FSIZE, (rlim_t)file, (rlim_t)file);
}

/* For one program, right before it begins. */
void limit_program(void) {
	struct rlimit now;
	if (!getrlimit(RLIMIT_NPROC, &now) && now.rlim_max >= processes.rlim_max)
		setrlimit(RLIMIT_NPROC, &processes);
}

/* From here on no program that is executed gains anything by being setuid or having file capabilities. */
void no_new_privileges(void) {
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		fail("no new privileges");
}
