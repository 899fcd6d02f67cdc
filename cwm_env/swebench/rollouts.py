"""What a policy is given in a rollout on SWE-bench, and what its trajectories become: predictions."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from cwm_env.swebench.predictions import Prediction
from cwm_env.tasks.swebench import WORKDIR, Record, no_tests, task_of
from cwm_env.types import Limits, Task, Trajectory

LIMITS = Limits(
    memory=8 << 30,
    disk=4 << 30,
    processes=1024,
    command_timeout=180.0,
    episode_timeout=3600.0,
    turns=250,
)
"""Of one rollout: no network, three minutes a command, an hour and 250 commands in all."""

PROMPT = """\
The repository in {workdir} has this issue:

<issue>
{issue}
</issue>

Change the repository so that the issue is solved. Its own tests may be run and are not to be changed; hidden tests
will judge the result. The Python that it is installed in is the one that `python` starts; there is no network. First
read the code that is concerned and reproduce the problem, then repair its cause, then check that what worked before
still does. When you are done, run `submit`: nothing can be changed after that.
"""
"""What the policy is told first; bash is all it has."""


def rollout_task(record: Record, image: str) -> Task:
    """The task of a rollout; an episode that runs out of turns or time is graded, and predicts, as it stands.

    Args:
        image: as ``ImageStore.get`` takes it.

    Raises:
        TaskError: it cannot be made.
    """
    task = task_of(record, image, no_tests())
    instruction = PROMPT.format(workdir=WORKDIR, issue=record.problem_statement.strip())
    return replace(task, instruction=instruction, limits=LIMITS, grade_on_truncation=True)


def predictions_of(trajectories: Iterable[Trajectory], model: str) -> dict[str, Prediction]:
    """The patch of the last episode of each instance that came to its end, as far as it counts when graded."""
    found = {}
    for trajectory in trajectories:
        name = trajectory.task_id.removeprefix("swebench:")
        if not trajectory.failure:
            patch = trajectory.grade.patch if trajectory.grade else ""
            found[name] = Prediction(name, model, patch.encode("utf-8", "replace").decode())
    return found
