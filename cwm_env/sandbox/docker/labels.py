"""What our containers and images are marked with, and the removal of those whose maker has died.

A container ends by itself when the process that made it does: its pid 1 sees the stream close. What is left of it is
removed by whoever starts next. A lease (``sandbox/leases.py``) tells the dead from the living on one machine; of the
containers that other machines left on a shared engine, those that ended an hour ago are removed.
"""

from __future__ import annotations

import datetime
import platform
from collections.abc import Mapping
from typing import Any

from cwm_env.errors import SandboxError
from cwm_env.sandbox import leases
from cwm_env.sandbox.docker.engine import Engine

LEASE, HOME = "cwm-env.lease", "cwm-env.home"
_ABANDONED = datetime.timedelta(hours=1)


def home() -> str:
    """Where leases are kept, and on which machine: two processes that have this in common can see each other's."""
    return f"{platform.node()}:{leases.runtime_dir()}"


def labels(lease: leases.Lease) -> dict[str, str]:
    """What is put on a container or an image."""
    return {LEASE: lease.id, HOME: home()}


def reap(engine: Engine) -> int:
    """Remove the containers and images of makers that have died, and only them; how many containers there were.

    Raises:
        SandboxUnavailable: the engine does not answer.
    """
    leases.prune()
    with engine.doing("list containers"):
        found = engine.api.containers(all=True, filters={"label": LEASE})
    doomed = [each["Id"] for each in found if _is_dead(each["Labels"]) or _is_abandoned(engine, each)]
    removed = sum(remove_container(engine, container) for container in doomed)
    with engine.doing("list images"):
        images = engine.api.images(filters={"label": LEASE})
    for image in images:
        if _is_dead(image["Labels"]):
            remove_image(engine, image["Id"])
    return removed


def remove_container(engine: Engine, container: str) -> bool:
    """Kill and remove a container with its volumes; False if it was gone already."""
    from docker.errors import APIError

    with engine.doing("remove a container"):
        try:
            engine.api.remove_container(container, v=True, force=True)
        except APIError as error:
            if error.status_code in (404, 409):  # somebody else removes it
                return False
            raise
        return True


def remove_image(engine: Engine, image: str) -> None:
    """Remove an image unless a container uses it."""
    from docker.errors import APIError

    with engine.doing("remove an image"):
        try:
            engine.api.remove_image(image, noprune=True)
        except APIError as error:
            if error.status_code not in (404, 409):
                raise


def _is_dead(labels: Mapping[str, str]) -> bool:
    return labels.get(HOME) == home() and not leases.is_held(labels.get(LEASE, ""))


def _is_abandoned(engine: Engine, container: Mapping[str, Any]) -> bool:
    """Whether a container of another machine ended long ago."""
    if container["State"] not in ("exited", "dead"):
        return False
    try:
        with engine.doing("inspect a container"):
            ended = engine.api.inspect_container(container["Id"])["State"]["FinishedAt"]
        since = datetime.datetime.now(datetime.UTC) - datetime.datetime.fromisoformat(ended[:19] + "+00:00")
    except (SandboxError, ValueError):
        return False
    return since > _ABANDONED
