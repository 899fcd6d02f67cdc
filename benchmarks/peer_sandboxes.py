"""Other ways to the same place, where they are installed: how long each takes to bash's first prompt."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

_BASH = ["bash", "--noprofile", "--norc", "--noediting", "-i"]
_SLOW = ("docker", "crun")
_DOCKER_IMAGE = "cwm-env-benchmark"


def available() -> dict[str, list[str]]:
    """Name to the command that shows a prompt on its standard error."""
    found = {"bash alone, no sandbox": _BASH}
    if shutil.which("unshare"):
        unshare = [
            "unshare",
            "--user",
            "--map-root-user",
            "--mount",
            "--pid",
            "--fork",
            "--net",
            "--ipc",
            "--uts",
            "--cgroup",
        ]
        found["unshare, no overlay"] = [*unshare, "--mount-proc", *_BASH]
    if shutil.which("bwrap"):
        bwrap = ["bwrap", "--unshare-all", "--ro-bind", "/usr", "/usr", "--symlink", "usr/bin", "/bin"]
        links = ["--symlink", "usr/lib", "/lib", "--symlink", "usr/lib64", "/lib64"]
        found["bubblewrap, no overlay"] = [
            *bwrap,
            *links,
            "--proc",
            "/proc",
            "--dev",
            "/dev",
            "--tmpfs",
            "/tmp",
            *_BASH,
        ]
    if shutil.which("crun") and os.geteuid() == 0:
        found["crun"] = _crun()
    if shutil.which("docker") and _works(["docker", "info"]):
        found["docker run"] = _docker()
    return {name: command for name, command in found.items() if _works([*command[: -len(_BASH)], "bash", "-c", "true"])
            or name == "crun"}  # fmt: skip


def most(name: str, count: int) -> int:
    """How often it is worth to ask it."""
    return min(count, 20) if name.startswith(_SLOW) else count


def first_prompt(command: list[str]) -> float:
    """Milliseconds from asking to the first byte that bash says."""
    environment = {**os.environ, "PS1": "$ "}
    started = time.perf_counter()
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment
    ) as process:
        assert process.stderr and process.stdin
        process.stderr.read(1)
        took = (time.perf_counter() - started) * 1000
        process.stdin.close()
        process.stderr.read()
    return took


def _works(command: list[str]) -> bool:
    try:
        return subprocess.run(command, capture_output=True, timeout=30, check=False).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def _crun() -> list[str]:
    """A bundle over the machine's ``/usr``; each run has a container of its own."""
    bundle = Path(tempfile.mkdtemp())
    _links(bundle / "rootfs")
    subprocess.run(["crun", "spec"], cwd=bundle, check=True, capture_output=True)
    spec = json.loads((bundle / "config.json").read_text())
    spec["process"].update(terminal=False, args=_BASH, env=["PATH=/usr/bin:/bin", "PS1=$ "])
    spec["root"]["readonly"] = False
    spec["mounts"].append({"destination": "/usr", "source": "/usr", "type": "none", "options": ["rbind", "ro"]})
    (bundle / "config.json").write_text(json.dumps(spec))
    return ["sh", "-c", f"exec crun run --bundle {bundle} cwm-env-benchmark-$$"]


def _docker() -> list[str]:
    """An image of links over the machine's ``/usr``: nothing is downloaded. ``DOCKER_HOST`` names the engine."""
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory) / "root"
        _links(root)
        (root / "usr").mkdir()
        packed = subprocess.run(["tar", "-C", root, "-c", "."], check=True, capture_output=True).stdout
        command = ["docker", "import", "-", _DOCKER_IMAGE]
        subprocess.run(command, input=packed, check=True, capture_output=True)
    return ["docker", "run", "--rm", "-i", "--network=none", "--volume=/usr:/usr:ro", _DOCKER_IMAGE, *_BASH]


def _links(root: Path) -> None:
    root.mkdir()
    for name in ("bin", "lib", "lib64"):
        (root / name).symlink_to(f"usr/{name}")
