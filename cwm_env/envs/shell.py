"""The shell that an agent finds in its sandbox: environment, directory, user, and the program ``submit``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cwm_env.errors import SandboxError
from cwm_env.sandbox.base import Sandbox
from cwm_env.session import AsyncBashSession, BashSession
from cwm_env.session.settings import Settings
from cwm_env.types import CommandResult, Image, Limits

if TYPE_CHECKING:
    from cwm_env.session import TerminalSession

_RUN = "/run/cwm-env"
SUBMITTED = f"{_RUN}/submitted"
"""The file in the sandbox that ``submit`` makes."""

# A program, so that it works from scripts, subshells and `make` as well.
_INSTALL_SUBMIT = f"""mkdir -p {_RUN}/bin && printf '#!/bin/sh\\n: > {SUBMITTED}\\n' > {_RUN}/bin/submit &&
chmod 755 {_RUN}/bin/submit"""
_INSTALL_SECONDS = 30.0
_QUIET_TOOLS = {"PAGER": "cat", "GIT_PAGER": "cat", "MANPAGER": "cat", "TERM": "dumb", "LANG": "C.UTF-8"}
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def environment(image: Image) -> dict[str, str]:
    """The whole environment of the shell: the image's own over quiet tools, with ``submit`` last on ``PATH``."""
    own = {**_QUIET_TOOLS, **image.env}
    return {**own, "PATH": f"{own.get('PATH', _PATH)}:{_RUN}/bin"}


def open_session(sandbox: Sandbox, image: Image, limits: Limits) -> BashSession:
    """Start the agent's bash in a fresh sandbox.

    Raises:
        SandboxError: the image's bash does not work.
    """
    session = BashSession(sandbox, **_settings(image, limits))
    if complaint := _complaint(image, session.run(_INSTALL_SUBMIT, timeout=_INSTALL_SECONDS)):
        session.close()
        raise complaint
    return session


def open_terminal(sandbox: Sandbox, image: Image, limits: Limits) -> TerminalSession:
    """``open_session``, as a terminal: its actions are keystrokes.

    Raises:
        SandboxError: the image's bash does not work, or it has no ``script``.
    """
    from cwm_env.session import TerminalSession  # with pexpect and pyte, for those who want one

    open_session(sandbox, image, limits).close()  # which puts `submit` into place
    settings = _settings(image, limits)
    seen_by_people = {name: value for name, value in settings["env"].items() if _QUIET_TOOLS.get(name) != value}
    return TerminalSession(sandbox, **{**settings, "env": seen_by_people})


async def open_async_session(sandbox: Sandbox, image: Image, limits: Limits) -> AsyncBashSession:
    """``open_session`` on an event loop.

    Raises:
        SandboxError: the image's bash does not work.
    """
    session = await AsyncBashSession.open(sandbox, **_settings(image, limits))
    if complaint := _complaint(image, await session.run(_INSTALL_SUBMIT, timeout=_INSTALL_SECONDS)):
        await session.close()
        raise complaint
    return session


def left_session(sandbox: Sandbox, image: Image, limits: Limits) -> AsyncBashSession:
    """A session for a sandbox that another process has opened one in: its ``resume`` comes before all else."""
    return AsyncBashSession(sandbox, Settings(**_settings(image, limits)))


def _settings(image: Image, limits: Limits) -> dict[str, Any]:
    return {
        "env": environment(image),
        "cwd": image.workdir,
        "user": image.user,
        "command_timeout": limits.command_timeout,
        "output_limit": limits.output,
        "flag_file": SUBMITTED,
    }


def _complaint(image: Image, installed: CommandResult) -> SandboxError | None:
    if not installed.exit_code:
        return None
    return SandboxError(f"the shell of image {image.name} does not work: {installed.output.strip()}")
