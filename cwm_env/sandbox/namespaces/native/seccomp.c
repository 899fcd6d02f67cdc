/* The system calls that a sandbox refuses.
 *
 * A deny list, because agents run compilers, debuggers and test suites of every kind: what is on it reaches the
 * kernel's machinery for isolation, or parts of the kernel with a long record of holes that no test suite needs. */

#include "native.h"

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <sys/syscall.h>

#ifdef __x86_64__
#define ARCHITECTURE AUDIT_ARCH_X86_64
#elif defined __aarch64__
#define ARCHITECTURE AUDIT_ARCH_AARCH64
#else
#error "this architecture has no list of system calls"
#endif

/* By number where the compiler's headers may be older than the call; these are the same on every architecture. */
#define NR_open_tree_attr 467
#define NR_mount_setattr 442
#define NR_quotactl_fd 443
#define NR_clone3 435

#define X32_BIT 0x40000000
#define TIOCSTI_ 0x5412
#define TIOCLINUX_ 0x541C
#define NAMESPACES                                                                                               \
	(CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET | 0x80)

#define LOAD(member) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, member))
#define RETURN(action) BPF_STMT(BPF_RET | BPF_K, action)
#define REFUSE(code) RETURN(SECCOMP_RET_ERRNO | (code))
#define SKIP_UNLESS(test, value, count) BPF_JUMP(BPF_JMP | (test) | BPF_K, value, 0, count)
#define DENY_AS(call, code) SKIP_UNLESS(BPF_JEQ, call, 1), REFUSE(code)
#define DENY(name) DENY_AS(SYS_##name, EPERM)
/* Refuse the call if any of the bits is set in its first argument. */
#define DENY_BITS(call, bits)                                                                                     \
	SKIP_UNLESS(BPF_JEQ, call, 4), LOAD(args[0]), SKIP_UNLESS(BPF_JSET, bits, 1), REFUSE(EPERM), RETURN(SECCOMP_RET_ALLOW)

/* A signal to pid 1 does nothing, as the kernel has it for a pid namespace; gVisor would let it die. */
#define SPARE_INIT(call)                                                                                          \
	SKIP_UNLESS(BPF_JEQ, call, 4), LOAD(args[0]), SKIP_UNLESS(BPF_JEQ, 1, 1), REFUSE(0), RETURN(SECCOMP_RET_ALLOW)

static struct sock_filter program[] = {
    LOAD(arch),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ARCHITECTURE, 1, 0),
    REFUSE(ENOSYS),
    LOAD(nr),
#ifdef __x86_64__
    SKIP_UNLESS(BPF_JGE, X32_BIT, 1),
    REFUSE(ENOSYS),
    DENY(iopl),
    DENY(ioperm),
#endif
    DENY(mount),
    DENY(umount2),
    DENY(pivot_root),
    DENY(chroot),
    DENY(setns),
    DENY(open_tree),
    DENY(move_mount),
    DENY(fsopen),
    DENY(fsconfig),
    DENY(fsmount),
    DENY(fspick),
    DENY_AS(NR_mount_setattr, EPERM),
    DENY_AS(NR_open_tree_attr, EPERM),
    DENY(name_to_handle_at),
    DENY(open_by_handle_at),
    DENY(keyctl),
    DENY(add_key),
    DENY(request_key),
    DENY(bpf),
    DENY(perf_event_open),
    DENY(userfaultfd),
    DENY(io_uring_setup),
    DENY(io_uring_enter),
    DENY(io_uring_register),
    DENY(init_module),
    DENY(finit_module),
    DENY(delete_module),
    DENY(kexec_load),
    DENY(kexec_file_load),
    DENY(reboot),
    DENY(swapon),
    DENY(swapoff),
    DENY(syslog),
    DENY(acct),
    DENY(quotactl),
    DENY_AS(NR_quotactl_fd, EPERM),
    DENY(settimeofday),
    DENY(clock_settime),
    DENY(clock_adjtime),
    DENY(adjtimex),
    DENY(fanotify_init),
#ifdef SYS_lookup_dcookie
    DENY(lookup_dcookie),
#endif
    DENY(vhangup),
    DENY(move_pages),
    DENY(mbind),
    DENY(migrate_pages),
    DENY(set_mempolicy),
    DENY_AS(NR_clone3, ENOSYS), /* its flags lie in memory, where no filter can read them */
    SPARE_INIT(SYS_kill),
    SPARE_INIT(SYS_tkill),
    SPARE_INIT(SYS_tgkill),
    SPARE_INIT(SYS_rt_sigqueueinfo),
    SPARE_INIT(SYS_rt_tgsigqueueinfo),
    DENY_BITS(SYS_clone, NAMESPACES),
    DENY_BITS(SYS_unshare, NAMESPACES),
    SKIP_UNLESS(BPF_JEQ, SYS_ioctl, 5),
    LOAD(args[1]),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, TIOCSTI_, 1, 0),
    SKIP_UNLESS(BPF_JEQ, TIOCLINUX_, 1),
    REFUSE(EPERM),
    RETURN(SECCOMP_RET_ALLOW),
    RETURN(SECCOMP_RET_ALLOW),
};

/* `may_map` leaves `unshare` of a user namespace, and nothing with it, for the process's next step. */
bool deny_system_calls(bool may_map) {
	const struct sock_fprog filter = {LENGTH(program), program};
	for (size_t i = 0; i < LENGTH(program); i++)
		if (program[i].k == SYS_unshare && BPF_OP(program[i].code) == BPF_JEQ)
			program[i + 2].k = may_map ? NAMESPACES & ~CLONE_NEWUSER : NAMESPACES;
	return !syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &filter);
}
