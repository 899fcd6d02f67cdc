"""Every exception of this package, split by who is to blame.

    CwmEnvError
    ├── InputError                  the caller's: something given to us is wrong
    │   ├── TaskError               a task that is unknown or does not hold together
    │   ├── RecipeError             an image recipe that is unknown or does not hold together
    │   └── TrajectoryError         a trajectories file that cannot be read
    └── InfrastructureError         ours, or the machine's: never a reward of 0
        ├── SandboxError            a sandbox could not be made, or died under us
        │   ├── SandboxUnavailable  this machine cannot make one; says what to do
        │   └── DiskFull            no space left on the machine
        ├── ImageError              an image could not be built or read
        ├── GradingError            the verdict could not be formed
        ├── PolicyError             the policy's endpoint failed
        └── RemoteError             the server failed: unreachable, or something that it should never answer
            ├── EpisodeLost         the server ended an episode: it was restarted, or the lease ran out
            └── ServerBusy          the server has no room now; it says when to come back

What the policy does inside its sandbox (exit codes, time-outs, floods) is data and raises nothing.
"""

from __future__ import annotations

from typing import ClassVar


class CwmEnvError(Exception):
    """Base of all. ``str(error)`` is one sentence: what was wrong, and what to do."""

    kind: ClassVar[str] = "error"
    """The word that stands in ``info["failure"]`` and in trajectories."""
    exit_code: ClassVar[int] = 3
    """The exit code of the command line when this error ends it."""


class InputError(CwmEnvError):
    """Something that the caller gave is wrong."""

    kind = "input"
    exit_code = 2


class TaskError(InputError):
    """A task is unknown or does not hold together; names the file and the key."""

    kind = "task"


class RecipeError(InputError):
    """An image's recipe is unknown or does not hold together; names the file and the key."""

    kind = "recipe"


class TrajectoryError(InputError):
    """A trajectories file cannot be read; names the file and the line."""

    kind = "trajectory"


class InfrastructureError(CwmEnvError):
    """We, or the machine, failed: an episode that meets it has no reward."""

    kind = "infrastructure"


class SandboxError(InfrastructureError):
    """A sandbox could not be made, or died under us."""

    kind = "sandbox"


class SandboxUnavailable(SandboxError):
    """This machine cannot make a sandbox; the message says what is missing and what mends it."""

    kind = "sandbox-unavailable"


class DiskFull(SandboxError):
    """The machine has no space left where images, sandboxes or trajectories are kept."""

    kind = "disk-full"


class ImageError(InfrastructureError):
    """An image could not be built or read."""

    kind = "image"


class GradingError(InfrastructureError):
    """The verdict could not be formed, through no doing of the policy."""

    kind = "grading"


class PolicyError(InfrastructureError):
    """The policy's endpoint failed: unreachable, refused the key, or answered nonsense."""

    kind = "policy"


class RemoteError(InfrastructureError):
    """The server of remote episodes cannot be reached, or failed."""

    kind = "remote"


class EpisodeLost(RemoteError):
    """The server has ended a remote episode: it was restarted, or nobody renewed the lease in time."""

    kind = "lost"


class ServerBusy(RemoteError):
    """The server has no room for one more episode now."""

    kind = "busy"
