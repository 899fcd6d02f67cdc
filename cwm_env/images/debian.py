"""Base ``debian:bookworm``: a minimal Debian, made by mmdebstrap from the archive that it finds."""

from __future__ import annotations

import getpass
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO

from cwm_env.errors import ImageError
from cwm_env.images.disk import make_directory, write_file
from cwm_env.sandbox.namespaces import ids

ALWAYS = ("bash", "git")
"""Packages that every image of this base has."""
PYTHON_PACKAGES = ("python3", "python3-venv")
"""Those that it has where the recipe lists Python packages."""
PYTHON_VERSION = "3.11"
INTERPRETER = "/usr/bin/python3"

_SUITE = "bookworm"
_AGENT = 1000
_LINES = 15
_REMEDY = "check the network; it goes to Debian's default mirror, through $http_proxy where that is set"


def build(target: Path, packages: Sequence[str], progress: Callable[[str], None]) -> None:
    """Write the lowest layer into the empty directory ``target``.

    Raises:
        ImageError: mmdebstrap is missing, may not run here, or failed.
        OSError: the layer cannot be written.
    """
    mode = _mode()
    progress(f"making a Debian with {', '.join(packages)}")
    command = ["mmdebstrap", f"--mode={mode}", "--variant=minbase", f"--include={','.join(packages)}", _SUITE, "-"]
    # The archive is what apt verified. Device nodes stay out: a sandbox has its own /dev.
    unpack = ["tar", "--extract", "--file=-", f"--directory={target}", "--exclude=./dev/*", "--same-permissions"]
    unpack.append("--numeric-owner" if ids.privileged() else "--no-same-owner")
    with tempfile.TemporaryFile() as said:
        codes = _pipe(command, unpack, said)
        if any(codes):
            said.seek(0)
            tail = "\n".join(said.read().decode("utf-8", "replace").strip().splitlines()[-_LINES:])
            who = "mmdebstrap" if codes[0] else "tar"
            raise ImageError(f"{who} failed with exit code {codes[0] or codes[1]}: {_REMEDY}. It said:\n{tail}")
    _settle(target)


def _mode() -> str:
    """How mmdebstrap can run here."""
    if shutil.which("mmdebstrap") is None:
        raise ImageError(
            "base 'debian:bookworm' needs mmdebstrap: run `apt-get install mmdebstrap`, or take base = \"host\""
        )
    if os.geteuid() == 0:
        return "root"
    name = getpass.getuser()
    missing = [f"the program {tool}" for tool in ("newuidmap", "newgidmap") if shutil.which(tool) is None]
    missing += [
        f"a range for {name} in {file}" for file in ("/etc/subuid", "/etc/subgid") if not _has_range(file, name)
    ]
    if missing:
        raise ImageError(
            f"base 'debian:bookworm' cannot be made by an ordinary user without {' and '.join(missing)}: have root run "
            f"`apt-get install uidmap` and `usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {name}`, "
            'or take base = "host"'
        )
    return "unshare"


def _has_range(file: str, name: str) -> bool:
    try:
        lines = Path(file).read_text().splitlines()
    except OSError:
        return False
    return any(line.split(":")[0] in (name, str(os.getuid())) for line in lines)


def _pipe(source: Sequence[str], sink: Sequence[str], said: IO[bytes]) -> tuple[int, int]:
    """Run two programs, the first's output being the second's input; both have ended when this returns or raises."""
    with subprocess.Popen(source, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=said) as first:
        try:
            second = subprocess.run(sink, stdin=first.stdout, stderr=said, check=False)
            assert first.stdout is not None
            first.stdout.close()  # the first must not wait for a second that gave up
            return first.wait(), second.returncode
        except BaseException:
            first.terminate()
            raise


def _settle(target: Path) -> None:
    """What mmdebstrap took over from the machine goes; the user that every image has comes."""
    write_file(target / "etc/hostname", b"sandbox\n")
    write_file(target / "etc/hosts", b"127.0.0.1 localhost sandbox\n::1 localhost\n")
    write_file(target / "etc/resolv.conf", b"")
    for name, line in (("passwd", "x:1000:1000:agent:/home/agent:/bin/bash"), ("group", "x:1000:")):
        path = target / "etc" / name
        write_file(path, path.read_bytes() + f"agent:{line}\n".encode())
    make_directory(target / "home/agent")
    if ids.privileged():
        os.chown(target / "home/agent", _AGENT, _AGENT)
