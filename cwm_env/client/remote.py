"""``RemoteEnv``: the same ``gymnasium.Env`` as ``BashEnv``, with the episode on a server."""

from __future__ import annotations

import contextlib
import dataclasses
import secrets
from pathlib import Path
from typing import Any

from cwm_env import wire
from cwm_env.client.http import LARGEST, Http, quoted
from cwm_env.envs.base import ShellEnv
from cwm_env.envs.episode import Stepped, failed
from cwm_env.errors import CwmEnvError, InfrastructureError

_SLACK_SECONDS = 60.0  # beyond a command's own limit, for grading's start and the network


@dataclasses.dataclass(frozen=True, slots=True)
class RemoteTask:
    """What a server tells about a task: not its hidden tests."""

    id: str
    instruction: str
    image: str
    limits: dict[str, Any]
    metadata: dict[str, Any]


class RemoteSandbox:
    """The sandbox of a remote episode, for tools that look into it."""

    def __init__(self, http: Http, episode_id: str) -> None:
        self._http, self._path = http, f"/episodes/{episode_id}"

    def read_file(self, path: str, *, limit: int = LARGEST) -> bytes:
        """The content of a regular file.

        Raises:
            InputError: it is not there, cannot be read, or is longer than ``limit`` bytes.
            RemoteError: the server failed.
        """
        return self._http.raw("GET", f"{self._path}/files/{quoted(path)}", limit=limit)

    def write_file(self, path: str, data: bytes, *, mode: int = 0o644) -> None:
        """Make ``data`` the content of a regular file.

        Raises:
            InputError: it cannot be written.
            RemoteError: the server failed.
        """
        self._http.raw("PUT", f"{self._path}/files/{quoted(path)}?mode={mode}", data)

    def archive(self, path: str, *, limit: int = LARGEST) -> bytes:
        """A file or a whole directory as a tar archive.

        Raises:
            InputError: it is not there, cannot be read, or its archive is longer than ``limit`` bytes.
            RemoteError: the server failed.
        """
        return self._http.raw("GET", f"{self._path}/files/{quoted(path)}?archive=true", limit=limit)

    def close(self) -> None:
        """Kill it: the next step says that it died."""
        self._http.raw("DELETE", f"{self._path}/sandbox")


class RemoteEnv(ShellEnv):
    """``BashEnv`` on a server: the same actions, observations, ``info`` and errors.

    A request whose answer does not come is sent again with the same id, which never runs an action twice. So a
    dropped connection costs nothing as long as the episode's lease runs; a server that stays away longer than
    ``patience``, or that has lost the episode, truncates it with ``failure`` in ``info``.
    """

    def __init__(
        self,
        task: str | Path,
        backend: str = "namespaces",
        *,
        url: str = "http://127.0.0.1:8000",
        token: str | None = None,
        command_timeout: float | None = None,
        turns: int | None = None,
        episode_timeout: float | None = None,
        output: int | None = None,
        policy: str = "",
        patience: float = 60.0,
        render_mode: str | None = None,
    ) -> None:
        """Choose the task; the server says at once if it is none.

        Args:
            task: id of one of the server's tasks; a path only where the server has no tokens.
            backend: name of a sandbox backend of the server.
            url: of the server.
            token: made by ``cwm-env tokens create`` there.
            command_timeout: seconds a command may take; None takes the task's, as for the next three.
            turns: steps until the episode is truncated.
            episode_timeout: seconds until the episode is truncated.
            output: bytes of a command's output that an observation keeps.
            policy: who acts, as it is to stand in the trajectory.
            patience: seconds for which a server that is away or full is asked again.
            render_mode: ``ansi`` or ``human``.

        Raises:
            TaskError: there is no such task, or it does not hold together.
            InputError: another argument is wrong.
            RemoteError: the server cannot be reached.
        """
        super().__init__(render_mode)
        given = {
            "command_timeout": command_timeout,
            "turns": turns,
            "episode_timeout": episode_timeout,
            "output": output,
        }
        limits = {name: value for name, value in given.items() if value is not None}
        self._request: dict[str, Any] = {"task": str(task), "backend": backend, "limits": limits, "policy": policy}
        self._http = Http(url, token, timeout=_SLACK_SECONDS, patience=patience)
        self._address = (url, token, patience)
        self._episode_id: str | None = None
        self._steps = 0
        self._choose(task)

    @property
    def task(self) -> RemoteTask:
        """The task of the current or next episode, with this environment's limits."""
        return self._task

    @property
    def sandbox(self) -> RemoteSandbox | None:
        """The running episode's sandbox; None between episodes."""
        return RemoteSandbox(self._http, self._episode_id) if self._episode_id else None

    @property
    def episode_id(self) -> str | None:
        """The server's name for the running episode, which is also in its trajectory."""
        return self._episode_id

    def close(self) -> None:
        """End the episode and free its sandbox. Idempotent."""
        super().close()
        self._http.close()

    @property
    def _running(self) -> bool:
        return self._episode_id is not None

    def _choose(self, task: str | Path) -> None:
        request = {**self._request, "task": str(task)}
        self._task = RemoteTask(**self._http.json("POST", "/tasks:check", request))
        self._request = request
        # A command may be silent for as long as it may take, and so may the connection.
        longest = self._task.limits["command_timeout"] + self._task.metadata.get("verifier_timeout", 300.0)
        url, token, patience = self._address
        self._http.close()
        self._http = Http(url, token, timeout=longest + _SLACK_SECONDS, patience=patience)

    def _begin(self, task: Any, seed: int | None) -> tuple[str, dict[str, Any]]:
        if task is not None:
            self._choose(task)
        request = {**self._request, "seed": seed, "request_id": secrets.token_hex(12)}
        made = self._http.json("POST", "/episodes", request)
        self._episode_id, self._steps = made["episode_id"], 0
        self._info: dict[str, Any] = wire.decode_info(made["info"])
        return made["observation"], dict(self._info)

    def _act(self, action: str) -> Stepped:
        self._steps += 1
        body = {"action": action, "step_id": str(self._steps)}
        try:
            stepped = wire.decode_stepped(self._http.json("POST", f"/episodes/{self._episode_id}/step", body))
        except InfrastructureError as error:
            about = {name: self._info[name] for name in ("task", "image", "turns_left")}
            stepped = failed(about, error)
        if stepped[2] or stepped[3]:
            self._episode_id = None
        else:
            self._info |= {"turns_left": stepped[4]["turns_left"]}
        return stepped

    def _end(self) -> None:
        episode_id, self._episode_id = self._episode_id, None
        if episode_id is not None:
            with contextlib.suppress(CwmEnvError):  # its lease will end it
                self._http.raw("DELETE", f"/episodes/{episode_id}")
