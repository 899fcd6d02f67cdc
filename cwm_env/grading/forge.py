"""Exploits as patches, with nothing dropped: what another harness can be tried with."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from cwm_env.grading import patch as patches
from cwm_env.grading.exploits import exploits
from cwm_env.grading.runner import run_bash
from cwm_env.sandbox.base import Backend
from cwm_env.types import Image, Task


def forged_patches(backend: Backend, image: Image, task: Task) -> Iterator[tuple[str, str]]:
    """Name and patch of each exploit that changes the repository in a way that a patch can say.

    Raises:
        GradingError: a patch could not be taken.
        SandboxError: a sandbox failed.
    """
    everything = replace(task.tests, unprotected=("*",), ignored=True)
    for exploit in exploits().values():
        episode, fresh = backend.create(image, task.limits), backend.create(image, task.limits)
        try:
            run_bash(episode, image, exploit.commands, task.limits.command_timeout, user=image.user)
            episode.stop()
            text = patches.take(episode, fresh, image, everything).text
        except ValueError:  # too large for any patch
            continue
        finally:
            episode.close()
            fresh.close()
        if text:
            yield exploit.name, text
