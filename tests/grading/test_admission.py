"""A task that may not give rewards is found out, and what was found is kept by the digest of its files."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from cwm_env.errors import GradingError, TaskError
from cwm_env.grading import Admission, Grader, evidence, validate
from cwm_env.grading.admission import CHECKS
from cwm_env.grading.leaks import leaks
from cwm_env.images import ImageStore
from cwm_env.sandbox.namespaces.backend import NamespacesBackend
from cwm_env.tasks import load_task
from cwm_env.types import Image, Task
from tests.grading.conftest import git
from tests.grading.tasks import BUGGY, HIDDEN, write_task

IDS = ["tests/test_it.py::test_double"]


def tried(backend: NamespacesBackend, task: Task, repeats: int = 1) -> Admission:
    return validate(backend, ImageStore().get(task.image), task, repeats=repeats)


def test_a_good_task_is_admitted_and_every_check_reports(tmp_path: Path, backend: NamespacesBackend) -> None:
    task = write_task(tmp_path, {"test_it.py": HIDDEN}, IDS)
    told: dict[str, str] = {}
    found = validate(backend, ImageStore().get(task.image), task, repeats=2, said=told.__setitem__)
    assert found.admitted, found.problems
    assert told == dict.fromkeys(CHECKS, "ok") and len(found.gold) == 2
    assert "tampered" in found.forged.values() and "resolved" not in found.forged.values()


ALWAYS = "import pkg\ndef test_double(): assert pkg.double(2)\n"
NEVER = "import pkg\ndef test_double(): assert pkg.double(2) == 6\n"
FLAKY = "import random, pkg\ndef test_double(): assert random.Random().random() < 0.5 and pkg.double(2) == 4\n"
SLOW = "import time, pkg\ndef test_double():\n    time.sleep(4)\n    assert pkg.double(2) == 4\n"


@pytest.mark.parametrize(
    ("hidden", "ids", "says"),
    [
        (ALWAYS, IDS, "untouched tree is resolved"),
        (NEVER, IDS, "gold solution is unresolved"),
        (HIDDEN, [*IDS, "tests/test_it.py::test_no"], "1 of 2 tests did not pass"),
        (FLAKY, IDS, "disagree on tests/test_it.py::test_double"),
        (SLOW, IDS, "too near to their limit"),
    ],
)
def test_a_bad_task_is_refused_with_the_reason(
    hidden: str, ids: list[str], says: str, tmp_path: Path, backend: NamespacesBackend
) -> None:
    found = tried(
        backend, write_task(tmp_path, {"test_it.py": hidden}, ids, timeout=7.0), repeats=8 if "random" in hidden else 1
    )
    assert not found.admitted and says in " ".join(found.problems)


def test_a_script_that_can_be_forged_is_refused(tmp_path: Path, backend: NamespacesBackend) -> None:
    """One that believes the exit code of a process in which the code under test runs."""
    script = "cd /repo; python -c 'import pkg, sys; sys.exit(pkg.double(2) != 4)' && echo 1 > /logs/verifier/reward.txt"
    found = tried(backend, write_task(tmp_path, {"test.sh": script}, []))
    assert "the exploit exits-at-import is rewarded" in found.problems


@pytest.mark.parametrize(
    ("setup", "says"),
    [
        (
            {"spare/__init__.py": "def double(x):\n    return x + x\n"},
            "the fix of pkg/__init__.py can be read at /repo/spare",
        ),
        ({"old/test_it.py": HIDDEN}, "the hidden test test_it.py can be read at /repo/old/test_it.py"),
        ({"cache/pkg-2.0-py3-none-any.whl": "zip"}, "holds a release of pkg: /repo/cache"),
    ],
)
def test_what_lies_in_the_image_is_a_leak(
    setup: dict[str, str], says: str, tmp_path: Path, backend: NamespacesBackend
) -> None:
    task = replace(
        write_task(tmp_path, {"test_it.py": HIDDEN}, IDS, repository={**BUGGY, **setup}),
        metadata={"package": "pkg 1.0"},
    )
    assert any(says in problem for problem in tried(backend, task).problems)


def test_later_commits_are_a_leak(tmp_path: Path, backend: NamespacesBackend, repository: Image) -> None:
    task = write_task(tmp_path, {"test_it.py": HIDDEN}, IDS)
    copy = tmp_path / "layer"
    shutil.copytree(repository.layers[0], copy, symlinks=True)
    if not (copy / "repo" / ".git").exists():
        git(copy / "repo", "init", "-q")
        git(copy / "repo", "commit", "-q", "--allow-empty", "-m", "first")
    git(copy / "repo", "commit", "-q", "--allow-empty", "-m", "later")
    git(copy / "repo", "branch", "other")
    git(copy / "repo", "remote", "add", "origin", "https://example.org/x")
    git(copy / "repo", "reset", "-q", "--hard", "HEAD~1")
    found = " ".join(leaks(backend, replace(repository, layers=(copy,)), task, ""))
    assert "2 commits" in found and "names remotes: origin" in found and "2 refs" in found and "reflog" in found


def test_a_task_without_expected_tests_or_solution_is_an_error(tmp_path: Path, backend: NamespacesBackend) -> None:
    task = write_task(tmp_path, {"test_it.py": HIDDEN}, [])
    with pytest.raises(GradingError, match="does not say which tests must pass"):
        Grader(backend, ImageStore().get(task.image), task).grade_patch("")
    task = write_task(tmp_path, {"test_it.py": HIDDEN}, IDS, fix="exit 7")
    with pytest.raises(TaskError, match="exited with 7"):
        tried(backend, task)


def test_evidence_holds_for_the_files_as_they_were(
    tmp_path: Path, backend: NamespacesBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = write_task(tmp_path, {"test_it.py": HIDDEN}, IDS)
    image, found = ImageStore().get(task.image), tried(backend, task)
    monkeypatch.setenv("CWM_ENV_CACHE", str(tmp_path / "cache"))
    assert evidence.find(task) is None
    path = evidence.keep(task, image, found)
    known = evidence.find(task)
    assert path.is_relative_to(tmp_path / "cache") and known is not None and known["admitted"] is True
    assert task.directory is not None
    (task.directory / "instruction.md").write_text("Other.\n")
    assert evidence.find(load_task(task.directory)) is None
