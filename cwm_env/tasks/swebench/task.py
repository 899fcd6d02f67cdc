"""From a record to the ``Task`` that an episode is made of."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath

from cwm_env.tasks.swebench.excuses import excused
from cwm_env.tasks.swebench.ids import dotted, from_root
from cwm_env.tasks.swebench.records import Record
from cwm_env.types import HiddenTests, Runner, Task

WORKDIR = "/testbed"
_SECONDS = 1800.0
_TOUCHED = re.compile(r"^diff --git a/.+ b/(.+)$", re.MULTILINE)
_DJANGO = ("--verbosity", "2", "--settings=test_sqlite", "--parallel", "1")
_SYMPY = ("SYMPY_USE_CACHE=no",)  # what its own runner's -C does
_SYMPYS_OWN = ("sympy/testing/*", "sympy/utilities/pytest.py", "sympy/utilities/runtests.py", "bin/*")
_TEST_DIRECTORIES = ("test", "tests", "testing", "e2e")
_ARTEFACT = re.compile(r"\[\s*\d+%?\]")
_END = "EOF_gold_patch_114329324912"


def runner_of(record: Record) -> Runner:
    """What runs its tests here: unittest for Django, its functions for sympy, pytest for every other repository."""
    special: dict[str, Runner] = {"django/django": "unittest", "sympy/sympy": "functions"}
    return special.get(record.repo, "pytest")


def task_of(record: Record, image: str, tests: Path) -> Task:
    """The task that a record is.

    A test that the gold fix leaves skipped, or failing as expected, counts only once an evaluation has seen that
    (``excuses``): ``cwm-env swebench evaluate --predictions gold`` looks.

    Args:
        image: as ``ImageStore.get`` takes it; ``docker://`` and ``record.image`` where a registry can be reached.
        tests: an empty directory on the host: all hidden tests are in the patch.
    """
    modules = _modules(record)
    runner = runner_of(record)
    if runner == "unittest":
        args = (f"{WORKDIR}/tests/runtests.py", *_DJANGO, *map(_label, modules))
    else:
        args = _SYMPY if runner == "functions" else ()
    ids = reported_ids(record)
    hidden = HiddenTests(
        directory=tests,
        runner=runner,
        paths=() if runner == "unittest" else tuple(f"{WORKDIR}/{module}" for module in modules),
        fail_to_pass=tuple(ids[name] for name in record.fail_to_pass if name in ids),
        pass_to_pass=tuple(ids[name] for name in record.pass_to_pass if name in ids),
        protected=(*_test_directories(modules), *(_SYMPYS_OWN if runner == "functions" else ())),
        patch=record.test_patch,
        args=args,
        excused=excused(record) or (),
        own_settings=True,
        loose_names=True,
        timeout=_SECONDS,
    )
    about = {"repo": record.repo, "version": record.version, "base_commit": record.base_commit}
    return Task(
        id=f"swebench:{record.instance_id}",
        instruction=record.problem_statement,
        image=image,
        tests=hidden,
        solution=_solution(record),
        metadata={**about, "problems": record.problems},
    )


def reported_ids(record: Record) -> Mapping[str, str]:
    """For each test that the record names: what our runner calls it, as far as the record says so.

    What the official parser took for a test and is none (the progress of a run, ``[100%]``) is left out.
    """
    names = (*record.fail_to_pass, *record.pass_to_pass)
    if runner_of(record) == "unittest":
        return {name: dotted(name) for name in names}
    modules = _modules(record)
    bare = f"{modules[0]}::" if runner_of(record) == "functions" and len(modules) == 1 else ""
    whole = {name: name if "::" in name else f"{bare}{name}" for name in names if not _ARTEFACT.fullmatch(name)}
    return {name: from_root(found, WORKDIR) if "::" in found else found for name, found in whole.items()}


def _modules(record: Record) -> list[str]:
    """The test modules that run: those that the test patch touches, or that the ids name where it touches none."""
    touched = [path for path in _TOUCHED.findall(record.test_patch) if path.endswith(".py")]
    named = [name.partition("::")[0] for name in (*record.fail_to_pass, *record.pass_to_pass) if "::" in name]
    return list(dict.fromkeys(touched or named))


def _test_directories(modules: Iterable[str]) -> Iterable[str]:
    """What lies beside the hidden tests, as patterns: a directory of tests holds no fix."""
    for module in modules:
        parts = PurePosixPath(module).parts
        depth = next((index for index, part in enumerate(parts) if part in _TEST_DIRECTORIES), None)
        if depth is not None:
            yield "/".join((*parts[: depth + 1], "*"))


def _solution(record: Record) -> str | None:
    """The gold fix as commands; None where a patch cannot be said so."""
    if not record.patch.strip() or _END in record.patch:
        return None
    reverse = "--reverse " if record.patch_is_bug else ""
    end = "" if record.patch.endswith("\n") else "\n"
    return f"cd {WORKDIR}\ngit apply {reverse}- <<'{_END}'\n{record.patch}{end}{_END}\n"


def _label(module: str) -> str:
    """A test module as Django's runner takes it."""
    return module.removeprefix("tests/").removesuffix(".py").replace("/", ".")
