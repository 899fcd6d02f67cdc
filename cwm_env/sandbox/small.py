"""A small image of the machine's own programs, copied: it runs on every backend, and needs nothing from anywhere."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

from cwm_env.errors import ImageError
from cwm_env.types import Image

PROGRAMS = (
    "bash cat chmod chown chroot cksum cp cut date dd env false head hostname id kill ln ls md5sum mkdir "
    "mkfifo mknod mount mv nohup od printf ps pwd readlink rm rmdir seq setsid sha256sum sleep sort stat "
    "sync tail tee timeout touch tr true umount uname uniq unshare wc whoami yes"
)
"""What it holds, as far as the machine has it."""

_USERS = "root:x:0:0:root:/root:/bin/bash\nagent:x:1000:1000::/home/agent:/bin/bash\nnobody:x:65534:65534::/:/bin/sh\n"
_GROUP = "root:x:0:\nagent:x:1000:\nextra:x:1001:agent\nnogroup:x:65534:\n"
_LIBRARY = re.compile(r"(/\S+) \(0x")
_DIRECTORIES = {"proc": 0o555, "dev": 0o755, "sys": 0o555, "tmp": 0o1777, "run": 0o755, "root": 0o700, "repo": 0o755}


def make_small_image(directory: Path) -> Image:
    """Write the image's one layer into ``directory``, which must not exist yet.

    Raises:
        ImageError: the machine lacks bash.
        OSError: it cannot be written.
    """
    bash = shutil.which("bash")
    if bash is None:
        raise ImageError("a small image needs bash on this machine")
    directory.mkdir(parents=True)
    directory.chmod(0o755)
    (directory / "usr/bin").mkdir(parents=True)
    (directory / "bin").symlink_to("usr/bin")
    for name, mode in _DIRECTORIES.items():
        (directory / name).mkdir()
        (directory / name).chmod(mode)
    found = [path for name in PROGRAMS.split() if (path := shutil.which(name))]
    for path in found:
        shutil.copy(path, directory / "usr/bin" / Path(path).name)
    (directory / "usr/bin/sh").symlink_to("bash")
    for library in _libraries(found):
        target = directory / library.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(library, target)
    (directory / "etc").mkdir()
    (directory / "etc/passwd").write_text(_USERS)
    (directory / "etc/group").write_text(_GROUP)
    (directory / "repo/kept").write_text("kept\n")
    (directory / "repo/old").mkdir()
    (directory / "repo/old/file").write_text("old\n")
    (directory / "repo/link").symlink_to("kept")
    env = {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"}
    return Image("small", f"small:{directory}", (directory,), workdir="/repo", env=env)


def _libraries(programs: list[str]) -> list[str]:
    done = subprocess.run(["ldd", *programs], capture_output=True, text=True, check=False)
    return sorted(set(_LIBRARY.findall(done.stdout)))
