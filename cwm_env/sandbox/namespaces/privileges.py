"""What processes in a sandbox may not do: capabilities, new privileges, resource limits."""

from __future__ import annotations

import resource

from cwm_env.sandbox.namespaces import libc

# What is worth keeping inside a user namespace, where each reaches only what the sandbox owns (capabilities(7)):
# CHOWN, DAC_OVERRIDE, FOWNER, FSETID, KILL, SETGID, SETUID, SETPCAP, NET_BIND_SERVICE, SETFCAP.
KEPT_CAPABILITIES = (0, 1, 3, 4, 5, 6, 7, 8, 10, 31)
_MASK = sum(1 << number for number in KEPT_CAPABILITIES)


def drop_capabilities() -> None:
    """Keep ``KEPT_CAPABILITIES``, for this process and as the most that any child can ever have."""
    with open("/proc/sys/kernel/cap_last_cap", "rb") as file:
        last = int(file.read())
    for number in range(last + 1):
        if number not in KEPT_CAPABILITIES:
            libc.prctl(libc.PR_CAPBSET_DROP, number)
    libc.capset(_MASK)


def limit_resources(processes: int) -> None:
    """Resource limits that every process in the sandbox inherits.

    The count of processes is the kernel's per user and user namespace, so it holds for one sandbox.
    """
    _, most_files = resource.getrlimit(resource.RLIMIT_NOFILE)
    most_files = min(most_files, 65536) if most_files >= 0 else 65536
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(1024, most_files), most_files))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _, most_processes = resource.getrlimit(resource.RLIMIT_NPROC)
    if most_processes >= 0:
        processes = min(processes, most_processes)
    resource.setrlimit(resource.RLIMIT_NPROC, (processes, processes))


def no_new_privileges() -> None:
    """From here on no program that is executed gains anything by being setuid or having file capabilities."""
    libc.prctl(libc.PR_SET_NO_NEW_PRIVS, 1)
