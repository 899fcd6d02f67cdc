"""What the official harness does in a container, done in a clone: apply a model's patch, run the evaluation script."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from cwm_env.sandbox.base import Sandbox
from cwm_env.sandbox.run import Completed, run
from cwm_env.types import Image, Limits

LIMITS = Limits(memory=8 << 30, disk=4 << 30, processes=2048, network="none")
"""Of a clone that evaluates, and never the network: images hold all that the scripts need."""
SECONDS = 1800.0
"""The official limit on one evaluation."""

_PATCH = "/tmp/patch.diff"  # noqa: S108 - a path in the clone, the official one
_SCRIPT = "/eval.sh"
_LOG = 64 << 20
"""Bytes of a log that are kept, from its end: one without its start marker has no results."""
_TOOL_SECONDS = 120.0
_APPLY = (
    "git apply --verbose",
    "git apply --verbose --3way",
    "git apply --verbose --reject",
    "patch --batch --forward --fuzz=5 -p1 -i",
)
"""What the harness tries in turn; before each but the first it puts the tree back."""
_APPLIED, _NOT_APPLIED = ">>>>> Applied Patch", ">>>>> Patch Apply Failed"


@dataclass(slots=True)
class Evaluated:
    """One run of the harness."""

    log: list[str] = field(default_factory=list)
    """What it would write into ``run_instance.log``, an entry each."""
    output: str | None = None
    """What the evaluation script printed; None where it did not run."""
    error: str = ""
    """Why there is no report: the patch does not apply, or time ran out. Empty where there is one."""
    seconds: float = 0.0
    """How long the script took."""


def apply_patch(clone: Sandbox, image: Image, patch: str) -> tuple[bool, str]:
    """Apply a model's patch the way that the official harness does. Gives whether it did, and what git said.

    Raises:
        SandboxError: the clone failed.
    """
    clone.write_file(_PATCH, patch.encode("utf-8", "surrogateescape"))
    said = ""
    for number, command in enumerate(_APPLY):
        if number:
            _tool(clone, image, "git checkout -- . ; git clean -fd")
        done = _tool(clone, image, f"{command} {_PATCH}")
        said = done.stdout.decode("utf-8", "replace")
        if done.exit_code == 0:
            return True, said
    there = _tool(clone, image, f"git apply --check --reverse {_PATCH}").exit_code == 0
    return there, "verified already applied" if there else said


def evaluate(clone: Sandbox, image: Image, patch: str | None, script: str, timeout: float) -> Evaluated:
    """Apply a patch to a fresh clone, unless it is None, and run the evaluation script, as root, as the harness does.

    Raises:
        SandboxError: the clone failed.
    """
    found = Evaluated()
    if patch is not None:
        applied, said = apply_patch(clone, image, patch)
        found.log.append(f"{_APPLIED if applied else _NOT_APPLIED}:\n{said}")
        if not applied:
            found.error = f"the patch does not apply: {' '.join(said.split())[:300]}"
            return found
    before = _difference(clone, image)
    found.log.append(f"Git diff before:\n{before}")
    clone.write_file(_SCRIPT, script.encode("utf-8", "surrogateescape"))
    output, found.seconds, late = _run_script(clone, image, timeout)
    found.log.append(f"Test runtime: {found.seconds:_.2f} seconds")
    if late:
        found.output = f"{output}\n\nTimeout error: {timeout:g} seconds exceeded."
        found.error = f"the evaluation did not end within {timeout:g} seconds"
        return found
    found.output = output
    after = _difference(clone, image)
    found.log.append(f"Git diff after:\n{after}")
    if after != before:
        found.log.append("Git diff changed after running eval script")
    return found


def _run_script(clone: Sandbox, image: Image, timeout: float) -> tuple[str, float, bool]:
    """What the script printed, how long it took, and whether its time ran out."""
    # coreutils' `timeout` ends the script inside, so that what it has printed until then is not lost.
    line = f"exec 2>&1; exec timeout --kill-after=5 {timeout:g} /bin/bash {_SCRIPT}"
    started = time.monotonic()
    try:
        done = run(
            clone,
            ["bash", "-c", line],
            env=_environment(image),
            cwd=image.workdir,
            timeout=timeout + 30,
            output_limit=_LOG,
        )
    except TimeoutError:
        return "", time.monotonic() - started, True
    seconds = time.monotonic() - started
    return done.stdout.decode("utf-8", "replace"), seconds, done.exit_code in (124, 137) and seconds >= timeout


def _difference(clone: Sandbox, image: Image) -> str:
    return _tool(clone, image, "git -c core.fileMode=false diff").stdout.decode("utf-8", "replace").strip()


def _tool(clone: Sandbox, image: Image, command: str) -> Completed:
    argv = ["bash", "-c", f"exec 2>&1; {command}"]
    try:
        return run(clone, argv, env=_environment(image), cwd=image.workdir, timeout=_TOOL_SECONDS, output_limit=_LOG)
    except TimeoutError as error:
        return Completed(124, str(error).encode(), b"")


def _environment(image: Image) -> dict[str, str]:
    """What a container of the image would give a command."""
    return {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", **image.env, "HOME": "/root"}
