"""``cwm-env grade``: the verdict on a patch, from whatever agent or harness it comes."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from cwm_env.cli.output import console, print_json
from cwm_env.errors import InputError
from cwm_env.tasks import resolve
from cwm_env.text import harmless
from cwm_env.trajectories import TrajectoryStore
from cwm_env.types import Grade


@click.command()
@click.argument("task")
@click.argument("patch", type=click.Path(path_type=Path, allow_dash=True), required=False)
@click.option("--reward", default="pass-fail", show_default=True, metavar="NAME", help="Or signed, share, similarity.")
@click.option("--exploits", type=click.Path(path_type=Path), metavar="DIR", help="Write exploits as patches instead.")
@click.option("--backend", default="namespaces", show_default=True, help="Where sandboxes are made.")
@click.option("--json", "as_json", is_flag=True, help="The whole grade, for programs.")
def grade(task: str, patch: Path | None, reward: str, exploits: Path | None, backend: str, as_json: bool) -> int:
    """Grade the PATCH (git's format, relative to the repository; - is standard input) as if an episode of TASK made it.

    A trajectories file (.jsonl) gives the patch of its last episode of the task. The exit code is 0 if the patch
    resolves the task, 1 if not. With --exploits, every known exploit that a patch can carry is written to DIR, one
    file each, nothing dropped: to try another harness with.

    \b
    Examples:
      cwm-env grade TASK fix.patch
      cwm-env grade TASK trajectories.jsonl --json
      cwm-env grade TASK --exploits ./forged
    """
    from cwm_env.grading import Grader
    from cwm_env.grading.forge import forged_patches
    from cwm_env.images import ImageStore
    from cwm_env.sandbox.registry import backend as backend_named

    if (patch is None) == (exploits is None):
        raise InputError("give either a PATCH to grade, or --exploits DIR")
    found = resolve(task)
    text = "" if patch is None else _last_of(patch, found.id) if patch.suffix == ".jsonl" else _read(patch)
    image, sandboxes = ImageStore().get(found.image), backend_named(backend)
    if exploits is not None:
        for name, forged in forged_patches(sandboxes, image, found):
            _write(exploits / f"{name}.patch", forged)
        return 0
    verdict = Grader(sandboxes, image, found, reward=reward).grade_patch(text)
    if as_json:
        print_json({name: getattr(verdict, name) for name in verdict.__slots__})
    else:
        _show(verdict)
    return 0 if verdict.outcome == "resolved" else 1


def _show(verdict: Grade) -> None:
    trust = "" if verdict.trusted else ", not to be trusted unseen"
    console.print(f"{verdict.outcome}{trust}, reward {verdict.reward}: {harmless(verdict.reason)}", markup=False)
    for what, paths in (("protected", verdict.dropped), ("ignored by git", verdict.ignored)):
        for path in paths:
            console.print(f"  did not count, {what}: {harmless(path)}", markup=False)
    for suspicion in verdict.suspicions:
        console.print(f"  look at this: {harmless(suspicion)}", markup=False)


def _read(path: Path) -> str:
    try:
        data: bytes = sys.stdin.buffer.read() if str(path) == "-" else path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: the patch cannot be read: {error.strerror}") from None
    return data.decode("utf-8", "surrogateescape")


def _write(path: Path, patch: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(patch.encode("utf-8", "surrogateescape"))
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error.strerror}") from None
    console.print(str(path), markup=False)


def _last_of(path: Path, task_id: str) -> str:
    grades = [episode.grade for episode in TrajectoryStore(path) if episode.task_id == task_id and episode.grade]
    if not grades:
        raise InputError(f"{path}: holds no graded episode of task {task_id!r}")
    return grades[-1].patch
