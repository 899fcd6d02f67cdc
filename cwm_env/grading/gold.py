"""The change that a task's own solution makes."""

from __future__ import annotations

import threading
from collections import OrderedDict

from cwm_env.errors import TaskError
from cwm_env.grading import patch as patches
from cwm_env.grading import runner
from cwm_env.sandbox.base import Backend
from cwm_env.types import Image, Task

_SECONDS = 300.0
_KEPT = 256
_lock = threading.Lock()
_known: OrderedDict[tuple[object, ...], str] = OrderedDict()


def gold_patch(backend: Backend, image: Image, task: Task) -> str:
    """The patch of the task's own solution, taken as an agent's would be; made once.

    Raises:
        TaskError: there is no solution, it fails, or it changes nothing that counts.
        SandboxError: a sandbox failed.
    """
    key = (image.digest, image.layers, task.tests, task.solution)
    with _lock:
        if key in _known:
            _known.move_to_end(key)
            return _known[key]
    made = _make(backend, image, task)
    with _lock:
        _known[key] = made
        while len(_known) > _KEPT:
            _known.popitem(last=False)
    return made


def _make(backend: Backend, image: Image, task: Task) -> str:
    where = f"{task.directory}/solution/solve.sh"
    if task.solution is None:
        raise TaskError(f"{where}: no such file; a task is validated with its solution")
    episode, fresh = backend.create(image, task.limits), backend.create(image, task.limits)
    try:
        code, said = runner.run_bash(episode, image, task.solution, _SECONDS, user=image.user)
        if code:
            raise TaskError(f"{where}: exited with {code}: {said.strip()[-300:]}")
        episode.stop()
        patch = patches.take(episode, fresh, patches.tree_of(image, task.tests), task.tests)
    except ValueError as error:
        raise TaskError(f"{where}: {error}") from None
    finally:
        episode.close()
        fresh.close()
    if not patch.text:
        raise TaskError(f"{where}: changes nothing that counts")
    return patch.text
