"""Rows 5 to 11, 13 and 14: the machine and the other sandboxes cannot be reached from inside, nor seen."""

from __future__ import annotations

import os
import socket
import subprocess
from contextlib import closing
from pathlib import Path

import pytest

from cwm_env.sandbox.namespaces.backend import NamespacesBackend
from cwm_env.sandbox.namespaces.sandbox import NamespaceSandbox
from cwm_env.session import BashSession
from cwm_env.types import Image, Limits
from tests.adversarial.attacks import PRELUDE
from tests.sandbox.tools import needs_python, python, said, shell

CALLS = {  # x86_64, aarch64, arguments
    "mount": (165, 40, "0, 0, 0, 0, 0"),
    "umount2": (166, 39, "ctypes.addressof(path), 2"),
    "pivot_root": (155, 41, "ctypes.addressof(path), ctypes.addressof(path)"),
    "chroot": (161, 51, "ctypes.addressof(path)"),
    "setns": (308, 268, "os.open('/proc/self/ns/user', 0), 0"),
    "unshare user": (272, 97, "0x10000000"),
    "unshare mount": (272, 97, "0x20000"),
    "unshare time": (272, 97, "0x80"),
    "clone user": (56, 220, "0x10000011, 0, 0, 0, 0"),
    "clone3": (435, 435, "0, 0"),
    "open_tree": (428, 428, "-100, ctypes.addressof(path), 1"),
    "fsopen": (430, 430, "ctypes.addressof(path), 0"),
    "move_mount": (429, 429, "0, 0, 0, 0, 0"),
    "mount_setattr": (442, 442, "-100, ctypes.addressof(path), 0, 0, 0"),
    "open_by_handle_at": (304, 265, "0, 0, 0"),
    "keyctl": (250, 219, "0, -3, 0"),
    "add_key": (248, 217, "0, 0, 0, 0, 0"),
    "bpf": (321, 280, "0, 0, 0"),
    "userfaultfd": (323, 282, "0"),
    "io_uring_setup": (425, 425, "1, 0"),
    "perf_event_open": (298, 241, "0, 0, -1, -1, 0"),
    "kexec_load": (246, 104, "0, 0, 0, 0"),
    "init_module": (175, 105, "0, 0, 0"),
    "reboot": (169, 142, "0xfee1dead, 672274793, 0x1234567"),
    "syslog": (103, 116, "3, 0, 0"),
    "clock_settime": (227, 112, "0, 0"),
    "swapon": (167, 224, "ctypes.addressof(path), 0"),
    "x32 getpid": (0x40000027, 0x40000027, ""),
    "ioctl TIOCSTI": (16, 29, "0, 0x5412, ctypes.addressof(path)"),
}


@needs_python
@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("user", ["root", "agent"])
def test_system_calls_that_reach_for_the_kernel_are_refused(cell: NamespaceSandbox, name: str, user: str) -> None:
    x86, arm, arguments = CALLS[name]
    script = (
        f"{PRELUDE}\npath = ctypes.create_string_buffer(b'/proc')\nprint(call({arm} if ARM else {x86}, {arguments}))"
    )
    assert said(python(cell, script, user=user)) in ("EPERM", "ENOSYS")


@pytest.mark.parametrize(
    "path",
    ["/proc/sys/kernel/core_pattern", "/proc/sys/kernel/hostname", "/proc/sysrq-trigger", "/proc/sys/vm/drop_caches",
     "/proc/sys/kernel/modprobe", "/proc/sys/kernel/ns_last_pid", "/proc/irq/default_smp_affinity"],
)  # fmt: skip
def test_what_steers_the_kernel_cannot_be_written(cell: NamespaceSandbox, path: str) -> None:
    before = Path(path).read_bytes() if Path(path).is_file() and os.access(path, os.R_OK) else b""
    done = shell(cell, f"echo c 2>&1 > {path}; chmod 777 {path}; umount /proc/sys")
    assert path == "/proc/sysrq-trigger" or done.stderr != b""
    after = Path(path).read_bytes() if Path(path).is_file() and os.access(path, os.R_OK) else b""
    assert path == "/proc/sys/kernel/ns_last_pid" or before == after


def test_sys_is_not_there_and_masked_files_are_empty(cell: NamespaceSandbox) -> None:
    assert said(shell(cell, "ls /sys 2>/dev/null | wc -l")) == "0"
    assert (
        said(shell(cell, "cat /proc/kallsyms /proc/kcore /proc/keys /proc/cmdline /proc/timer_list 2>/dev/null")) == ""
    )
    assert said(shell(cell, "ls -A /proc/acpi /proc/bus /proc/fs /proc/irq /proc/scsi 2>/dev/null | grep -v : ")) == ""


def test_devices_cannot_be_made_and_setuid_gains_nothing(cell: NamespaceSandbox) -> None:
    done = shell(cell, "mknod /tmp/sda b 8 0; mknod /dev/mem c 1 1; mknod /tmp/null c 1 3")
    assert done.stderr.count(b"Operation not permitted") == 3
    shell(cell, "cp /usr/bin/id /tmp/id; chmod 4755 /tmp/id")
    assert said(shell(cell, "/tmp/id -u", user="agent")) == "1000"
    assert said(shell(cell, "grep NoNewPrivs /proc/self/status")).split() == ["NoNewPrivs:", "1"]


def test_only_the_kept_capabilities_exist(cell: NamespaceSandbox) -> None:
    for field in ("CapEff", "CapBnd", "CapPrm"):
        mask = int(said(shell(cell, f"grep {field} /proc/self/status")).split()[1], 16)
        assert mask & ~0x800005FB == 0, field
    assert int(said(shell(cell, "grep CapEff /proc/self/status", user="agent")).split()[1], 16) == 0


@needs_python
def test_pid_1_cannot_be_looked_into(cell: NamespaceSandbox) -> None:
    script = f"""{PRELUDE}
print(call(117 if ARM else 101, 16, 1, 0, 0))
buffer = ctypes.create_string_buffer(8)
vector = (ctypes.c_long * 2)(ctypes.addressof(buffer), 8)
print(call(270 if ARM else 310, 1, ctypes.addressof(vector), 1, ctypes.addressof(vector), 1, 0))
LINKS = ("fd/3", "root", "cwd", "exe", "ns/mnt")
for name in ("environ", "mem", "maps", "fd", *LINKS):
    path = "/proc/1/" + name
    look = os.listdir if name == "fd" else os.readlink if name in LINKS else lambda path: open(path, "rb").read(10)
    try: look(path)
    except OSError as error: print(errno.errorcode[error.errno])
    else: print(name, "open")
"""
    answers = said(python(cell, script)).split("\n")
    assert answers[0] == "EPERM" and set(answers[1:]) <= {"EPERM", "EACCES", "ENOENT"}


def test_only_our_descriptors_are_open(cell: NamespaceSandbox) -> None:
    inherited = os.open("/etc", os.O_RDONLY)
    os.set_inheritable(inherited, True)
    try:
        assert said(shell(cell, "ls /proc/self/fd | tr '\\n' ' '")).split() in (["0", "1", "2", "3"], ["0", "1", "2"])
        assert "socket" in said(shell(cell, "readlink /proc/self/fd/0"))
        assert shell(cell, "true < /proc/self/fd/0").exit_code != 0  # the command channel cannot be opened again
    finally:
        os.close(inherited)


@needs_python
def test_there_is_no_network_but_loopback(cell: NamespaceSandbox) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        script = f"""
import socket
outside = (("127.0.0.1", {listener.getsockname()[1]}), ("169.254.169.254", 80), ("8.8.8.8", 53), ("192.168.0.1", 22))
for target in outside:
    try: socket.create_connection(target, 2); print("connected")
    except OSError: print("no")
try: socket.getaddrinfo("example.org", 80); print("resolved")
except OSError: print("no")
s = socket.socket(); s.bind(("127.0.0.1", 0)); s.listen()
socket.create_connection(s.getsockname(), 2); print("loopback")
try: socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
except OSError: print("no")
"""
        assert said(python(cell, script)).split() == ["no"] * 5 + ["loopback", "no"]
    assert said(shell(cell, "tail -n +3 /proc/net/dev | cut -d: -f1")).strip() == "lo"


@needs_python
def test_abstract_sockets_of_the_machine_are_not_there(cell: NamespaceSandbox) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("\0cwm-env-attack")
        listener.listen()
        script = 'import socket; s = socket.socket(socket.AF_UNIX); s.connect("\\0cwm-env-attack")'
        assert b"Connection refused" in python(cell, script).stderr


def test_no_path_of_the_machine_and_no_secret_is_shown(
    backend: NamespacesBackend, image: Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("API_TOKEN", "s3cr3t-token")
    fresh = NamespacesBackend(spawners=1)
    cell = fresh.create(image, Limits())
    seen = shell(
        cell, "cat /proc/*/mountinfo /proc/*/cmdline /proc/*/environ /proc/*/cgroup /proc/mounts; env; set"
    ).stdout
    for secret in (b"s3cr3t", os.fsencode(image.layers[0].parent), b"cwm-spawner", os.fsencode(Path.home()) + b"/."):
        assert secret not in seen
    assert said(shell(cell, "cat /proc/self/cgroup | cut -d: -f3 | sort -u")) == "/"
    assert said(shell(cell, "hostname")) == "sandbox"
    fresh.close()


@needs_python
def test_sandboxes_do_not_see_each_other(backend: NamespacesBackend, image: Image) -> None:
    one, other = backend.create(image, Limits()), backend.create(image, Limits())
    serve = """
import socket, time
from multiprocessing import shared_memory
s = socket.socket(); s.bind(("127.0.0.1", 4567)); s.listen()
a = socket.socket(socket.AF_UNIX); a.bind("\\0mine"); a.listen()
m = shared_memory.SharedMemory("mine", create=True, size=4096)
open("/tmp/mine", "w").write("x"); open("/usr/mine", "w") if False else None
print("ready", flush=True); time.sleep(30)
"""
    server = one.spawn(["/usr/bin/python3", "-c", serve])
    os.set_blocking(server.stdout, True)
    assert os.read(server.stdout, 10) == b"ready\n"
    look = """
import os, socket
print(sorted(os.listdir("/tmp")), sorted(os.listdir("/dev/shm")), sum(name.isdigit() for name in os.listdir("/proc")))
for family, address in ((socket.AF_INET, ("127.0.0.1", 4567)), (socket.AF_UNIX, "\\0mine")):
    try: socket.socket(family).connect(address); print("connected")
    except OSError: print("no")
"""
    assert said(python(other, look)) == "[] [] 2\nno\nno"
    server.close()
    one.close()
    other.close()


def test_the_image_is_the_same_after_an_episode_did_its_worst_to_it(backend: NamespacesBackend, image: Image) -> None:
    def state() -> str:
        command = ["find", str(image.layers[0]), "-printf", "%p %y %m %s %U %T@ %l\n"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    before = state()
    cell = backend.create(image, Limits())
    shell(
        cell, "rm -rf /repo /etc /root; chmod 777 /; chown 1000 /; touch -d @1 / /usr; echo x > /usr/bin/x; mv /tmp /t"
    )
    cell.close()
    assert state() == before
    assert not Path("/usr/bin/x").exists()


def test_terminals_are_its_own(cell: NamespaceSandbox) -> None:
    names = "fd full null ptmx pts random shm stderr stdin stdout tty urandom zero"
    assert said(shell(cell, "ls /dev/pts; ls /dev")).split() == ["ptmx", *names.split()]
    assert shell(cell, "echo x > /dev/tty").exit_code != 0


@needs_python
@pytest.mark.parametrize("user", ["0:0", "agent"])
def test_a_tool_of_ours_cannot_be_looked_into(cell: NamespaceSandbox, user: str) -> None:
    shell(cell, "chmod 1777 /repo")
    tool = cell.start_tool("write", "/repo/x", "644", user=user)
    script = f"""{PRELUDE}
pid = {tool.pid}
print(call(117 if ARM else 101, 16, pid, 0, 0))
for look, name in ((os.listdir, "fd"), (os.readlink, "fd/3"), (os.readlink, "exe"), (os.listdir, "map_files")):
    try: print(look(f"/proc/{{pid}}/{{name}}"))
    except OSError as error: print(errno.errorcode[error.errno])
"""
    for attacker in {"root", "agent"}:
        assert set(said(python(cell, script, user=attacker)).split("\n")) <= {"EPERM", "EACCES"}
    tool.close_stdin()
    assert tool.wait(5) == 0
    tool.close()


@needs_python
@pytest.mark.parametrize("user", ["root", "agent"])
def test_the_loop_that_all_sessions_share_cannot_be_changed(
    backend: NamespacesBackend, cell: NamespaceSandbox, image: Image, user: str
) -> None:
    tries = """
import os
def tell(name, attempt):
    try:
        attempt()
    except OSError as error:
        print(name, "refused", flush=True)
    else:
        print(name, "done", flush=True)
tell("open", lambda: os.open("/proc/self/fd/3", os.O_RDWR))
tell("write", lambda: os.pwrite(3, b"x", 0))
tell("shrink", lambda: os.ftruncate(3, 0))
tell("mode", lambda: os.fchmod(3, 0))
tell("owner", lambda: os.fchown(3, os.getuid(), -1))
tell("attribute", lambda: os.setxattr(3, "user.x", b"y"))
"""
    process = cell.spawn(["/usr/bin/python3", "-c", tries], user=user, shell_loop=True)
    assert process.wait(20) == 0
    came_of = dict(line.split() for line in os.read(process.stdout, 4096).decode().splitlines())
    process.close()
    assert came_of["write"] == came_of["shrink"] == "refused" and len(came_of) == 6
    if os.geteuid() == 0:  # else the file is the attacker's own, and no other's
        assert "done" not in came_of.values()
    with closing(backend.create(image, Limits())) as other, BashSession(other) as bash:
        assert bash.run("echo whole").output == "whole\n"
