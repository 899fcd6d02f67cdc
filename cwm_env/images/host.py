"""Base ``host``: the machine's own programs, read-only, under a system of our own; nothing to download.

What is visible of the machine: ``/usr`` (and ``/bin``, ``/lib`` and the like where they are not links into it) and the
programs and libraries of the interpreter that runs us, at their own path. Of ``/etc`` a few files that programs cannot
do without are copied as data. Everything else (homes, ``/opt``, ``/srv``, ``/var``, keys) is not there at all. Inside
the mounts, directories that hold no part of the system appear empty: locally installed software and sources, Python
packages (the released fix of a task's bug may be among them, and this package with its hidden tests), our own cache.
"""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from cwm_env.errors import ImageError
from cwm_env.images.disk import make_directory, write_file
from cwm_env.images.interpreters import Interpreter, running
from cwm_env.paths import data_dir
from cwm_env.sandbox.namespaces import ids

_INTERPRETER_PARTS = ("bin", "include", "lib", "lib64")
_ROOT_LINKS = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
_USERS = (
    ("root", 0, "/root", "/bin/bash"),
    ("agent", 1000, "/home/agent", "/bin/bash"),
    ("nobody", 65534, "/nonexistent", "/usr/sbin/nologin"),
)
_DIRECTORIES = {
    "dev": 0o755,
    "etc": 0o755,
    "home": 0o755,
    "home/agent": 0o755,
    "mnt": 0o755,
    "opt": 0o755,
    "proc": 0o755,
    "root": 0o755,  # the interpreter may lie below it, and every user runs that
    "run": 0o755,
    "srv": 0o755,
    "tmp": 0o1777,
    "usr": 0o755,
    "var": 0o755,
    "var/cache": 0o755,
    "var/lib": 0o755,
    "var/log": 0o755,
    "var/tmp": 0o1777,
}
_FILES = {
    "etc/hostname": "sandbox\n",
    "etc/hosts": "127.0.0.1 localhost sandbox\n::1 localhost\n",
    "etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\nservices: files\nprotocols: files\n",
    "etc/passwd": "".join(f"{name}:x:{uid}:{uid}:{name}:{home}:{shell}\n" for name, uid, home, shell in _USERS),
    "etc/group": "".join(f"{name}:x:{uid}:\n" for name, uid, _, _ in _USERS),
}
_LINKS = {"etc/mtab": "/proc/self/mounts", "var/run": "/run"}
# Read by the dynamic linker, by name look-ups, by `mimetypes` and by TLS libraries, of whatever distribution.
_COPIED = (
    "/etc/ld.so.cache",
    "/etc/services",
    "/etc/protocols",
    "/etc/mime.types",
    "/etc/os-release",
    "/etc/ssl/openssl.cnf",
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
)
_SCRATCH = ("/tmp", "/run", "/dev", "/proc")  # noqa: S108 - paths in a sandbox
_LINK_FARM = "/etc/alternatives"


def interpreter() -> str:
    """The interpreter that images of this base have: the one that runs us, outside any virtual environment."""
    return running().path


def pins(python: Interpreter) -> list[str]:
    """What layers of this base depend on. The machine's packages may change all the same: this is for a first look."""
    return [platform.machine(), _os_release(), python.prefix, python.build, *mounts(python)]


def mounts(python: Interpreter) -> tuple[str, ...]:
    """Directories of the machine that appear at the same path."""
    system = ["/usr", *(f"/{name}" for name in _ROOT_LINKS if _is_directory(f"/{name}"))]
    # Not the whole prefix: it may be somebody's ~/.local, or hold all environments of a conda installation.
    own = [f"{python.prefix.rstrip('/')}/{name}" for name in _INTERPRETER_PARTS]
    return (*system, *(path for path in own if _is_directory(path) and not _lies_in(path, system)))


def hidden(cache: Path, python: Interpreter) -> tuple[str, ...]:
    """Directories below ``mounts`` that appear empty."""
    visible = mounts(python)
    prefix = Path(python.prefix)
    found = {str(path) for path in _unwanted(prefix, cache) if path.is_dir()}
    real = {os.path.realpath(path) for path in found}
    below = sorted(path for path in real if _lies_in(path, visible) and not _lies_in(str(prefix), [path]))
    return tuple(path for path in below if not _lies_in(path, [other for other in below if other != path]))


def build(target: Path, python: Interpreter) -> None:
    """Write the lowest layer into the empty directory ``target``.

    Raises:
        ImageError: the machine lacks a program that every image needs.
        OSError: it cannot be written.
    """
    for program in ("bash", "git", "tar"):
        if not any(Path(place, program).exists() for place in ("/usr/bin", "/bin")):
            raise ImageError(f"base 'host' needs {program} in /usr/bin: install it with the machine's package manager")
    if _lies_in(python.prefix, _SCRATCH):
        raise ImageError(
            f"base 'host' cannot use an interpreter in {python.prefix}: a sandbox's /tmp and /run are empty"
        )
    for name, mode in _DIRECTORIES.items():
        make_directory(target / name, mode)
    for path in mounts(python):  # here rather than by each sandbox, so that nothing of them counts as changed
        make_directory(target / path.strip("/"))
    for link in (Path("/", name) for name in _ROOT_LINKS):
        if link.is_symlink():
            (target / link.name).symlink_to(link.readlink())
    for name, text in _FILES.items():
        write_file(target / name, text.encode())
    for name, goal in _LINKS.items():
        (target / name).symlink_to(goal)
    _copy_from_machine(target)
    if ids.privileged():
        os.chown(target / "home/agent", 1000, 1000)


def _os_release() -> str:
    for path in (Path("/etc/os-release"), Path("/usr/lib/os-release")):
        if path.is_file():
            return path.read_text(encoding="utf-8")
    return platform.platform()


def _is_directory(path: str) -> bool:
    return Path(path).is_dir() and not Path(path).is_symlink()


def _lies_in(path: str, directories: Iterable[str]) -> bool:
    return any(path == directory or path.startswith(directory.rstrip("/") + "/") for directory in directories)


def _unwanted(prefix: Path, cache: Path) -> Iterator[Path]:
    """What may not be seen, wherever it lies."""
    yield from (cache, data_dir("tasks"), Path(__file__).parents[1])
    if sys.prefix != sys.base_prefix:
        yield Path(sys.prefix)
    yield from map(Path, ("/usr/src", "/usr/local/src", "/usr/local/etc", "/usr/local"))
    for place in (Path("/usr"), Path("/usr/local"), prefix):
        yield from place.glob("lib*/python3*/*-packages")


def _copy_from_machine(target: Path) -> None:
    for path in map(Path, _COPIED):
        if path.is_file():
            make_directory((target / path.relative_to("/")).parent)
            write_file(target / path.relative_to("/"), path.read_bytes())
    links = [path for path in Path(_LINK_FARM).glob("*") if path.is_symlink()]
    for path in links:
        make_directory((target / path.relative_to("/")).parent)
        (target / path.relative_to("/")).symlink_to(path.readlink())
