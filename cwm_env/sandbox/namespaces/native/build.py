"""Compiles the native program: one static file, for the machine's architecture or another. It carries within it the
builtin that bash loads (``shell/loop.c``), which takes everything that it needs from the bash that loads it.

Used when a wheel is built, and when a checkout or an editable install first needs it. The compiler is the one that
PyPI provides (``ziglang``), so that what is tested is what is shipped; a checkout without it makes do with ``cc``.
Standard library only, and imported by path from the build hook: nothing of the package may be needed here.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

SOURCES = Path(__file__).parent
NAME = "cwm-spawner"
MACHINES = ("x86_64", "aarch64")
"""What there are lists of system calls for."""

_FLAGS = ["-std=gnu17", "-Os", "-Wall", "-s"]
_LOADABLE = ["-shared", "-fPIC", "-nostdlib", "-ffreestanding", "-fno-stack-protector", "-Wl,-z,nodelete,-z,now"]
_SECONDS = 300


class BuildFailed(Exception):
    """No compiler is there, or it complained; the text says what to do."""


def fingerprint(machine: str) -> str:
    """A name for what would be built now: it changes with every source."""
    digest = hashlib.sha256(machine.encode())
    for source in sorted(SOURCES.rglob("*.[ch]")):
        digest.update(source.name.encode() + b"\0" + source.read_bytes())
    return digest.hexdigest()[:16]


def build(target: Path, machine: str, *, portable: bool = False) -> None:
    """Compile to ``target``, which appears whole or not at all.

    Args:
        machine: ``x86_64`` or ``aarch64``.
        portable: use ``ziglang`` only, whose programs run on every Linux.

    Raises:
        BuildFailed: no compiler is there, or it complained.
    """
    if machine not in MACHINES:
        raise BuildFailed(f"there is no embedded sandbox for {machine}: use x86_64 or aarch64")
    commands = []
    if importlib.util.find_spec("ziglang"):
        commands.append([sys.executable, "-m", "ziglang", "cc", "-target", f"{machine}-linux-musl"])
    if not portable and machine == os.uname().machine and (found := shutil.which("cc")):
        commands.append([found])
    said = "no compiler is there"
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = target.with_name(f"{target.name}.{os.getpid()}")
    loop = unfinished.with_suffix(".so")
    sources = sorted(str(source) for source in SOURCES.glob("*.c"))
    for command in commands:
        try:
            _compile([*command, *_LOADABLE, "-o", str(loop), str(SOURCES / "shell" / "loop.c")])
            _compile([*command, "-static", f'-DLOOP="{loop}"', "-o", str(unfinished), *sources])
        except BuildFailed as error:
            said = str(error)
            continue
        finally:
            loop.unlink(missing_ok=True)
        unfinished.chmod(0o755)
        unfinished.replace(target)
        return
    raise BuildFailed(f"the sandbox's native program could not be built ({said}): pip install ziglang")


def _compile(command: list[str]) -> None:
    done = subprocess.run([*command, *_FLAGS], capture_output=True, text=True, timeout=_SECONDS, check=False)
    if done.returncode:
        raise BuildFailed(done.stderr.strip()[-2000:])
