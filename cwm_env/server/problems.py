"""What is wrong with a request, or with us, as an exception that becomes an RFC 9457 document."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cwm_env import errors, wire
from cwm_env.errors import CwmEnvError


class Problem(Exception):
    """Ends a request with a problem document."""

    def __init__(self, status: int, kind: str, detail: str, remedy: str, *, retry_after: float | None = None) -> None:
        """
        Args:
            kind: one word; also what stands in ``info["failure"]``, where it names a failure.
            retry_after: seconds after which to come back.
        """
        super().__init__(detail)
        self.status, self.kind = status, kind
        self.document: dict[str, Any] = wire.problem(status, kind, detail, remedy)
        self.headers = {} if retry_after is None else {"Retry-After": str(max(1, round(retry_after)))}


_STATUS: dict[type[CwmEnvError], tuple[int, str]] = {
    errors.TaskError: (422, "choose one that GET /tasks lists"),
    errors.InputError: (422, "correct the request"),
    errors.DiskFull: (507, "tell the operator; come back later"),
    errors.SandboxUnavailable: (503, "tell the operator to run `cwm-env doctor` on the server"),
    errors.InfrastructureError: (503, "try again; if it stays, tell the operator"),
}


def problem_of(error: CwmEnvError) -> Problem:
    """The problem that one of our exceptions is to a client."""
    kind = next(kind for kind in type(error).__mro__ if kind in _STATUS)
    status, remedy = _STATUS[kind]
    retry = 5.0 if status == 503 else None
    return Problem(status, error.kind, str(error), remedy, retry_after=retry)


def unfit(errors: Sequence[Mapping[str, Any]]) -> Problem:
    """What pydantic found wrong with a request, without repeating it."""
    found = [f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in errors[:3]]
    return Problem(422, "input", "; ".join(found)[:500], "see /docs for what the request may hold")


def no_episode() -> Problem:
    """There is none of that id, or it is another tenant's: which, nobody is told."""
    return Problem(404, "no-episode", "there is no such episode", "its lease may have run out: start another one")


def conflict(step_id: str) -> Problem:
    """A step id that came back with another action."""
    return Problem(409, "step-id-reused", f"step {step_id!r} was another action", "give each step an id of its own")


def busy(step_id: str) -> Problem:
    """Two steps at once."""
    return Problem(409, "step-running", f"step {step_id!r} is still running", "wait for its answer, then send the next")


def starting() -> Problem:
    """A step before the first observation."""
    return Problem(
        409, "starting", "the episode has not begun yet", "wait until GET /episodes/{id} says `ready`", retry_after=1
    )


def over(state: str, failure: str | None, error: str) -> Problem:
    """A new step of an episode that has ended."""
    if state == "lost":
        return Problem(410, "lost", error, "start another episode; its trajectory was recorded up to the last answer")
    if failure:
        return Problem(410, failure, f"the episode has ended: {error or failure}", "start another episode")
    return Problem(410, "ended", "the episode has ended", "start another episode")


def full(status: int, detail: str, seconds: float) -> Problem:
    """No room: 429 where the tenant has too much, 503 where the server has."""
    return Problem(status, "busy", detail, "come back after the seconds in Retry-After", retry_after=seconds)


def draining() -> Problem:
    """The server is about to stop."""
    return Problem(503, "draining", "the server is shutting down", "come back, here or elsewhere", retry_after=10)
