"""What a verdict is worth, and what is worth a second look."""

from __future__ import annotations

from pathlib import Path

import pytest

from cwm_env import BashEnv
from cwm_env.errors import InputError, TaskError
from cwm_env.grading import Grader
from cwm_env.grading.rewards import REWARDS, named
from cwm_env.grading.scan import scan
from cwm_env.images import ImageStore
from cwm_env.sandbox.namespaces.backend import NamespacesBackend
from cwm_env.tasks import load_task
from cwm_env.types import Grade, Outcome
from tests.grading.tasks import FIX, HIDDEN, write_task

GOLD = "diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -1 +1 @@\n-one\n+two\n"


def grade(outcome: Outcome, patch: str = "") -> Grade:
    return Grade(outcome, 0.0, {"a": "PASSED", "b": "FAILED" if outcome != "resolved" else "PASSED"}, patch=patch)


@pytest.mark.parametrize(
    ("name", "resolved", "unresolved", "tampered"),
    [("pass-fail", 1, 0, 0), ("signed", 1, -1, -1), ("share", 1, 0.5, 0), ("similarity", 1, -1, -1)],
)
def test_rewards_of_each_outcome(name: str, resolved: float, unresolved: float, tampered: float) -> None:
    reward = REWARDS[name]
    assert reward(grade("resolved"), GOLD) == resolved
    assert reward(grade("unresolved"), GOLD) == unresolved
    assert reward(grade("tampered", GOLD), GOLD) == tampered


def test_similarity_grows_with_likeness_and_stays_within_its_bounds() -> None:
    near, far = GOLD.replace("+two", "+twa"), GOLD.replace("+two", "+something else entirely")
    values = [REWARDS["similarity"](grade("unresolved", patch), GOLD) for patch in (far, near, GOLD)]
    assert -1.0 <= values[0] < values[1] < values[2] <= 1.0


def test_a_reward_is_named_or_a_function() -> None:
    with pytest.raises(InputError, match="choose pass-fail, signed"):
        named("best")
    assert named(REWARDS["share"]) is REWARDS["share"]


def test_an_environment_takes_its_reward(tmp_path: Path) -> None:
    task = write_task(tmp_path, {"test_it.py": HIDDEN}, ["tests/test_it.py::test_double"])
    for reward, fix, value in (("signed", "true", -1.0), ("signed", FIX, 1.0), ("similarity", FIX, 1.0)):
        env = BashEnv(task, reward=reward)
        env.reset()
        env.step(fix)
        _, got, _, _, info = env.step("submit")
        env.close()
        assert got == info["grade"].reward == value


def test_a_reward_that_compares_needs_a_solution(tmp_path: Path, backend: NamespacesBackend) -> None:
    task = write_task(tmp_path, {"test_it.py": HIDDEN}, ["tests/test_it.py::test_double"])
    assert task.directory is not None
    (task.directory / "solution" / "solve.sh").unlink()
    with pytest.raises(TaskError, match="no solution"):
        Grader(backend, ImageStore().get(task.image), load_task(task.directory), reward="similarity")


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("import _pytest.reports", "parts of a test runner"),
        ("frame = sys._getframe(1)", "stack"),
        ("os._exit(0)", "end the process"),
        ("open('/proc/self/fd/9')", "descriptors or /proc"),
        ("exec(base64.b64decode(x))", "hides code"),
        ("def __eq__(self, other): return True", "equal to anything"),
        ("def __eq__(self, other):\n    return True", "equal to anything"),
        ("time.time = lambda: 0", "clock"),
        ("glob('/tests/*')", "grading brings in"),
    ],
)
def test_signs_of_meddling_are_named_with_their_file(code: str, says: str) -> None:
    added = "".join(f"+{line}\n" for line in code.splitlines())
    (found,) = [
        said
        for said in scan(f"diff --git a/p/x.py b/p/x.py\n--- a/p/x.py\n+++ b/p/x.py\n@@ -0,0 +1 @@\n{added}")
        if says in said
    ]
    assert found.startswith("p/x.py ")


def test_what_was_there_before_is_no_sign() -> None:
    header = "diff --git a/x.py b/x.py\n--- a/x.py\n+++ b/x.py\n@@ -1,2 +1,2 @@\n"
    assert scan(f"{header} os._exit(0)\n-import gc; gc.get_objects()\n+y = re.compile(x)\n") == ()
