"""Harbor on our sandboxes: ``harbor run --env cwm_env.integrations.harbor:CwmEnvironment``.

The task's ``environment/Dockerfile`` is built once and converted (``cwm_env.images``), or its ``docker_image`` fetched;
each trial is then a clone of it on the embedded sandbox, or on whatever backend ``--ek backend=docker:runsc`` names.
Where Harbor says that the network is public, a sandbox has none, unless ``--ek network=host`` gives it the machine's.
"""

from __future__ import annotations

import asyncio
import io
import posixpath
import shlex
import tarfile
from pathlib import Path
from typing import Any

from harbor.environments.base import BaseEnvironment, ExecResult
from harbor.environments.capabilities import EnvironmentCapabilities, EnvironmentResourceCapabilities

from cwm_env.errors import SandboxError
from cwm_env.images import ImageStore
from cwm_env.sandbox.base import Sandbox
from cwm_env.sandbox.registry import backend as backend_named
from cwm_env.sandbox.run import run
from cwm_env.types import Image, Limits

_MIB = 1 << 20
_NO_LIMIT = 86_400
_OUTPUT = 16 << 20
_LARGEST = 4 << 30


class CwmEnvironment(BaseEnvironment):  # type: ignore[misc]  # harbor has no types of its own where it is not installed
    """A Harbor environment that is one of our sandboxes."""

    def __init__(self, *args: Any, backend: str = "namespaces", network: str = "none", **kwargs: Any) -> None:
        """
        Args:
            args: Harbor's own, as kwargs.
            backend: name of one of our backends.
            network: what a task gets whose network is public: ``none``, or ``host``.
        """
        self._backend, self._public = backend_named(backend), network
        self._sandbox: Sandbox | None = None
        self._image: Image | None = None
        super().__init__(*args, **kwargs)

    @staticmethod
    def type() -> str:
        """The provider's name."""
        return "cwm-env"

    @property
    def capabilities(self) -> EnvironmentCapabilities:
        """What Harbor may ask for: no network or a few names of it, no GPU, nothing mounted."""
        return EnvironmentCapabilities(
            disable_internet=True,
            network_allowlist=True,
            network_allowlist_hostnames=True,
            network_allowlist_wildcard_hostnames=True,
        )

    @classmethod
    def resource_capabilities(cls) -> EnvironmentResourceCapabilities:
        """What Harbor may limit."""
        return EnvironmentResourceCapabilities(cpu_limit=True, memory_limit=True, fractional_cpus=True)

    async def start(self, force_build: bool) -> None:
        """Build and convert the image where it is missing, and make the sandbox."""
        await asyncio.to_thread(self._start, force_build)

    async def stop(self, delete: bool) -> None:
        """End the sandbox; nothing of it stays, whatever ``delete`` says."""
        sandbox, self._sandbox = self._sandbox, None
        if sandbox is not None:
            await asyncio.to_thread(sandbox.close)

    async def upload_file(self, source_path: Path | str, target_path: str) -> None:
        """Copy a file into the sandbox, with the directories that lead to it."""
        source = Path(source_path)
        await self.exec(f"mkdir -p {shlex.quote(posixpath.dirname(target_path) or '/')}", user="root")
        mode = source.stat().st_mode & 0o777
        await asyncio.to_thread(self._made.write_file, target_path, source.read_bytes(), mode=mode)

    async def upload_dir(self, source_dir: Path | str, target_dir: str) -> None:
        """Copy what a directory holds into one of the sandbox."""
        await self.exec(f"mkdir -p {shlex.quote(target_dir)}", user="root")
        await asyncio.to_thread(self._made.extract, _packed(Path(source_dir)), target_dir, max_bytes=_LARGEST)

    async def download_file(self, source_path: str, target_path: Path | str) -> None:
        """Copy a file out of the sandbox."""
        data = await asyncio.to_thread(self._made.read_file, source_path, limit=_LARGEST)
        Path(target_path).parent.mkdir(parents=True, exist_ok=True)
        Path(target_path).write_bytes(data)

    async def download_dir(self, source_dir: str, target_dir: Path | str) -> None:
        """Copy the regular files out of a directory of the sandbox; its links are hostile data, and stay there."""
        await asyncio.to_thread(self._download, source_dir, Path(target_dir))

    async def exec(
        self,
        command: str,
        cwd: str | None = None,
        env: dict[str, str] | None = None,
        timeout_sec: int | None = None,
        user: str | int | None = None,
    ) -> ExecResult:
        """Run a command in bash; at the time limit it is killed, and the return code is 124."""
        assert self._image is not None
        chosen = self._resolve_user(user)
        whole = {**self._image.env, **(self._merge_env(env) or {})}
        try:
            done = await asyncio.to_thread(
                run,
                self._made,
                ["bash", "-c", command],
                env=whole,
                cwd=cwd or self._image.workdir,
                user=self._image.user if chosen is None else str(chosen),
                timeout=timeout_sec or _NO_LIMIT,
                output_limit=_OUTPUT,
            )
        except TimeoutError as error:
            return ExecResult(stdout="", stderr=str(error), return_code=124)
        return ExecResult(
            stdout=done.stdout.decode("utf-8", "replace"),
            stderr=done.stderr.decode("utf-8", "replace"),
            return_code=done.exit_code,
        )

    def _validate_definition(self) -> None:
        if not self.task_env_config.docker_image and not (self.environment_dir / "Dockerfile").is_file():
            raise FileNotFoundError(f"{self.environment_dir}: has no Dockerfile, and its task names no docker_image")

    @property
    def _made(self) -> Sandbox:
        if self._sandbox is None:
            raise SandboxError("the environment was not started, or was stopped")
        return self._sandbox

    def _start(self, force_build: bool) -> None:
        store = ImageStore()
        image = self.task_env_config.docker_image
        name = f"docker://{image}" if image else str(self.environment_dir)
        self._image = store.fetch(name) if force_build else store.get(name)
        given = {
            "cpus": self._effective_cpus,
            "memory": self._effective_memory_mb and self._effective_memory_mb * _MIB,
            "disk": self._effective_storage_mb and self._effective_storage_mb * _MIB,
        }
        limits: dict[str, Any] = {key: value for key, value in given.items() if value}
        self._sandbox = self._backend.create(self._image, Limits(**limits, **self._network()))
        run(self._sandbox, ["mkdir", "-p", "/logs/agent", "/logs/verifier", "/logs/artifacts"], timeout=60)
        run(self._sandbox, ["chmod", "-R", "777", "/logs"], timeout=60)

    def _network(self) -> dict[str, Any]:
        if self._network_is_allowlist:
            return {"network": "allow", "allow": tuple(self.network_policy.allowed_hosts)}
        return {"network": self._public if self._network_is_public else "none"}

    def _download(self, source: str, target: Path) -> None:
        pieces = b"".join(self._made.archive(source))
        target.mkdir(parents=True, exist_ok=True)
        with tarfile.open(fileobj=io.BytesIO(pieces)) as archive:
            for member in archive:
                parts = member.name.split("/")[1:]
                if ".." in parts or not (file := archive.extractfile(member) if member.isreg() else None):
                    continue
                path = target.joinpath(*parts)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(file.read())


def _packed(directory: Path) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for path in sorted(directory.iterdir()):
            archive.add(path, path.name)
    return out.getvalue()
