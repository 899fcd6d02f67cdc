"""The system calls that a sandbox refuses, as a BPF program that is assembled once.

A deny list, because agents run compilers, debuggers and test suites of every kind: what is on it reaches the
kernel's machinery for isolation, or parts of the kernel with a long record of holes that no test suite needs.
"""

from __future__ import annotations

import errno
import struct

from cwm_env.sandbox.namespaces import libc

_AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_LOAD, _JUMP_EQUAL, _JUMP_ANY_BIT, _JUMP_GREATER_EQUAL, _RETURN = 0x20, 0x15, 0x45, 0x35, 0x06
_SYSCALL_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT, _SECOND_ARGUMENT = 0, 4, 16, 24
_X32_BIT = 0x40000000
_NAMESPACE_FLAGS = (
    libc.CLONE_NEWNS
    | libc.CLONE_NEWCGROUP
    | libc.CLONE_NEWUTS
    | libc.CLONE_NEWIPC
    | libc.CLONE_NEWUSER
    | libc.CLONE_NEWPID
    | libc.CLONE_NEWNET
    | 0x80  # CLONE_NEWTIME
)
_TIOCSTI, _TIOCLINUX = 0x5412, 0x541C

# name: (x86_64, aarch64); None where the architecture has no such call.
_DENIED: dict[str, tuple[int | None, int | None]] = {
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "setns": (308, 268),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "mount_setattr": (442, 442),
    "open_tree_attr": (467, 467),
    "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265),
    "keyctl": (250, 219),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "reboot": (169, 142),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "syslog": (103, 116),
    "acct": (163, 89),
    "quotactl": (179, 60),
    "quotactl_fd": (443, 443),
    "settimeofday": (164, 170),
    "clock_settime": (227, 112),
    "clock_adjtime": (305, 266),
    "adjtimex": (159, 171),
    "fanotify_init": (300, 262),
    "lookup_dcookie": (212, 18),
    "vhangup": (153, 58),
    "iopl": (172, None),
    "ioperm": (173, None),
    "move_pages": (279, 239),
    "mbind": (237, 235),
    "migrate_pages": (256, 238),
    "set_mempolicy": (238, 237),
}
_Calls = dict[str, tuple[int | None, int | None]]
_UNKNOWN_TO_FILTERS: _Calls = {"clone3": (435, 435)}  # its flags lie in memory, where no filter can read them
_CLONE: _Calls = {"clone": (56, 220)}
_UNSHARE: _Calls = {"unshare": (272, 97)}
_IOCTL: _Calls = {"ioctl": (16, 29)}


def _numbers(table: dict[str, tuple[int | None, int | None]]) -> list[int]:
    column = 0 if libc.MACHINE == "x86_64" else 1
    return [number for pair in table.values() if (number := pair[column]) is not None]


def _instruction(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("HBBI", code, if_true, if_false, value)


def _refuse(number: int) -> bytes:
    return _instruction(_RETURN, _ERRNO | number)


def _when_argument(call: int, argument: int, test: bytes) -> list[bytes]:
    """On system call ``call``: refuse with EPERM if ``test`` of its argument's low word holds, else allow."""
    return [
        _instruction(_JUMP_EQUAL, call, 0, 4),
        _instruction(_LOAD, argument),
        test,
        _refuse(errno.EPERM),
        _instruction(_RETURN, _ALLOW),
    ]


def build_filter() -> bytes:
    """The program for this machine, an array of ``struct sock_filter``."""
    program = [
        _instruction(_LOAD, _ARCHITECTURE),
        _instruction(_JUMP_EQUAL, _AUDIT_ARCH[libc.MACHINE], 1, 0),
        _refuse(errno.ENOSYS),
        _instruction(_LOAD, _SYSCALL_NUMBER),
    ]
    if libc.MACHINE == "x86_64":
        program += [_instruction(_JUMP_GREATER_EQUAL, _X32_BIT, 0, 1), _refuse(errno.ENOSYS)]
    for number in _numbers(_DENIED):
        program += [_instruction(_JUMP_EQUAL, number, 0, 1), _refuse(errno.EPERM)]
    for number in _numbers(_UNKNOWN_TO_FILTERS):
        program += [_instruction(_JUMP_EQUAL, number, 0, 1), _refuse(errno.ENOSYS)]
    any_namespace = _instruction(_JUMP_ANY_BIT, _NAMESPACE_FLAGS, 0, 1)
    for call in (*_numbers(_CLONE), *_numbers(_UNSHARE)):
        program += _when_argument(call, _FIRST_ARGUMENT, any_namespace)
    for call in _numbers(_IOCTL):
        program += [
            _instruction(_JUMP_EQUAL, call, 0, 5),
            _instruction(_LOAD, _SECOND_ARGUMENT),
            _instruction(_JUMP_EQUAL, _TIOCSTI, 1, 0),
            _instruction(_JUMP_EQUAL, _TIOCLINUX, 0, 1),
            _refuse(errno.EPERM),
            _instruction(_RETURN, _ALLOW),
        ]
    program.append(_instruction(_RETURN, _ALLOW))
    return b"".join(program)
