"""From a record to the ``Task`` that an episode is made of."""

from __future__ import annotations

import re
from pathlib import Path

from cwm_env.tasks.swebench.ids import dotted, from_root
from cwm_env.tasks.swebench.records import Record, is_truncated
from cwm_env.types import HiddenTests, Runner, Task

WORKDIR = "/testbed"
_SECONDS = 1800.0
_TOUCHED = re.compile(r"^diff --git a/.+ b/(.+)$", re.MULTILINE)
_DJANGO = ("--verbosity", "2", "--settings=test_sqlite", "--parallel", "1")


def runner_of(record: Record) -> Runner:
    """What runs its tests here: unittest for Django, pytest for every other repository, sympy among them."""
    return "unittest" if record.repo == "django/django" else "pytest"


def task_of(record: Record, image: str, tests: Path) -> Task:
    """The task that a record is.

    Ids that the record holds truncated cannot be compared with what a runner reports, and are left out of the task;
    ``metadata["problems"]`` says so.

    Args:
        image: as ``ImageStore.get`` takes it; ``docker://`` and ``record.image`` where a registry can be reached.
        tests: an empty directory on the host: all hidden tests are in the patch.
    """
    modules = _modules(record)
    runner = runner_of(record)
    args = (f"{WORKDIR}/tests/runtests.py", *_DJANGO, *map(_label, modules)) if runner == "unittest" else ()
    hidden = HiddenTests(
        directory=tests,
        runner=runner,
        paths=() if args else tuple(f"{WORKDIR}/{module}" for module in modules),
        fail_to_pass=_expected(record, record.fail_to_pass, modules),
        pass_to_pass=_expected(record, record.pass_to_pass, modules),
        patch=record.test_patch,
        args=args,
        timeout=_SECONDS,
    )
    about = {"repo": record.repo, "version": record.version, "base_commit": record.base_commit}
    return Task(
        id=f"swebench:{record.instance_id}",
        instruction=record.problem_statement,
        image=image,
        tests=hidden,
        metadata={**about, "problems": record.problems},
    )


def _modules(record: Record) -> list[str]:
    """The test modules that run: those that the test patch touches, or that the ids name where it touches none."""
    touched = [path for path in _TOUCHED.findall(record.test_patch) if path.endswith(".py")]
    named = [name.partition("::")[0] for name in (*record.fail_to_pass, *record.pass_to_pass) if "::" in name]
    return list(dict.fromkeys(touched or named))


def _expected(record: Record, names: tuple[str, ...], modules: list[str]) -> tuple[str, ...]:
    whole = [name for name in names if not is_truncated(name)]
    if runner_of(record) == "unittest":
        return tuple(map(dotted, whole))
    if record.repo == "sympy/sympy" and len(modules) == 1:  # its own runner prints bare names
        whole = [name if "::" in name else f"{modules[0]}::{name}" for name in whole]
    return tuple(from_root(name, WORKDIR) for name in whole)


def _label(module: str) -> str:
    """A test module as Django's runner takes it."""
    return module.removeprefix("tests/").removesuffix(".py").replace("/", ".")
