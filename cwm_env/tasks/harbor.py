"""Reads a task's directory, which has Harbor's layout.

task.toml        limits, timeouts, and [metadata.cwm_env], which is ours
instruction.md   what the policy is told
environment/     image.toml (ours) or a Dockerfile; left out where [metadata.cwm_env] names a shipped image
tests/           hidden; with expected.json where pytest runs them, test.sh where they decide by themselves
solution/        solve.sh, if there is one
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cwm_env.errors import TaskError
from cwm_env.tasks import schema
from cwm_env.tasks.expected import read_expected
from cwm_env.types import OUT_OF_BAND, HiddenTests, Limits, Task

_MIB = 1 << 20
_UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


def load_task(directory: Path) -> Task:
    """The task in ``directory``; its id is the directory's name.

    Raises:
        TaskError: it does not hold together; the message names the file and the key.
    """
    if not is_directory(directory):
        raise TaskError(f"{directory}: no such directory; a task is a directory that holds a task.toml")
    path = directory / "task.toml"
    try:
        file = schema.parse(_read(path))
    except ValueError as error:
        raise TaskError(f"{path}: {error}") from None
    instruction = _read(directory / "instruction.md")
    if not instruction.strip():
        raise TaskError(f"{directory / 'instruction.md'}: is blank; it must tell the policy what to do")
    solution = directory / "solution" / "solve.sh"
    place = directory.resolve()
    return Task(
        id=place.name,
        instruction=instruction,
        image=_image(directory, file),
        tests=_tests(directory, file),
        limits=_limits(file),
        directory=place,
        solution=_read(solution) if solution.exists() else None,
        grade_on_truncation=file.metadata.cwm_env.grade_on_truncation,
        metadata=_metadata(file),
    )


def is_directory(path: Path) -> bool:
    """Whether ``path`` is a directory; False too where the question makes no sense (too long, not permitted)."""
    try:
        return path.is_dir()
    except OSError:
        return False


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise TaskError(f"{path}: no such file; every task has one") from None
    except UnicodeDecodeError as error:
        raise TaskError(f"{path}: is not UTF-8 text (byte {error.start})") from None
    except (OSError, ValueError) as error:
        raise TaskError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from None


def _image(directory: Path, file: schema.TaskFile) -> str:
    environment = directory / "environment"
    name = file.metadata.cwm_env.image
    has_recipe = (environment / "image.toml").exists()
    if has_recipe and name is not None:
        raise TaskError(
            f"{directory / 'task.toml'}: [metadata.cwm_env] image: environment/image.toml says it already; keep one of them"
        )
    for compose in ("docker-compose.yaml", "docker-compose.yml"):
        if (environment / compose).exists():
            raise TaskError(f"{environment / compose}: tasks of several containers do not run here, only those of one")
    if name is not None:
        return name
    if has_recipe or (environment / "Dockerfile").exists():
        return str(environment.resolve())
    if file.environment.docker_image:
        return f"docker://{file.environment.docker_image}"
    raise TaskError(
        f"{directory}: has no image: write environment/image.toml, or name a shipped image in task.toml "
        "([metadata.cwm_env] image)"
    )


def _tests(directory: Path, file: schema.TaskFile) -> HiddenTests:
    tests, where, own = directory / "tests", directory / "task.toml", file.metadata.cwm_env
    if not is_directory(tests):
        raise TaskError(f"{tests}: no such directory; it holds the hidden tests")
    runner = own.runner or ("script" if (tests / "test.sh").is_file() else "pytest")
    if runner not in OUT_OF_BAND:
        script = tests / ("test.sh" if runner == "script" else "run.sh")
        if not script.is_file():
            raise TaskError(f"{script}: no such file; the runner {runner!r} needs it")
        for key in ("paths", "args"):
            if getattr(own, key) is not None:
                raise TaskError(
                    f"{where}: [metadata.cwm_env] {key}: only 'pytest' and 'unittest' take it, this is {runner!r}"
                )
    for key, paths in (("paths", own.paths or ()), ("tree", [own.tree] if own.tree else ())):
        for path in paths:
            if not path.startswith("/"):
                raise TaskError(f"{where}: [metadata.cwm_env] {key}: {path!r} is not an absolute path in the sandbox")
    for key in ("protected", "unprotected"):
        for pattern in getattr(own, key):
            if pattern.startswith("/"):
                raise TaskError(f"{where}: [metadata.cwm_env] {key}: {pattern!r} must be relative to the repository")
    expected = read_expected(tests / "expected.json") if runner != "script" else ((), ())
    default = ("/tests",) if runner in OUT_OF_BAND else ()
    patch = tests / "test.patch"
    return HiddenTests(
        directory=tests.resolve(),
        runner=runner,
        paths=default if own.paths is None else tuple(own.paths),
        fail_to_pass=expected[0],
        pass_to_pass=expected[1],
        protected=tuple(own.protected),
        unprotected=tuple(own.unprotected),
        tree=own.tree or "",
        ignored=own.ignored,
        reinstall=own.reinstall,
        patch=patch.read_bytes().decode("utf-8", "surrogateescape") if patch.is_file() else "",
        args=tuple(own.args or ()),
        **_given(timeout=file.verifier.timeout_sec),
    )


def _limits(file: schema.TaskFile) -> Limits:
    machine, own = file.environment, file.metadata.cwm_env
    return Limits(
        **_given(
            cpus=machine.cpus,
            memory=_bytes(machine.memory_mb, machine.memory),
            disk=_bytes(machine.storage_mb, machine.storage),
            episode_timeout=file.agent.timeout_sec,
            command_timeout=own.command_timeout_sec,
            turns=own.turns,
            output=own.output_bytes,
        )
    )


def _bytes(mib: int | None, size: str | None) -> int | None:
    """Bytes of a size; the newer key in MiB wins over the older one with a unit."""
    if mib is not None:
        return mib * _MIB
    return None if size is None else int(float(size[:-1]) * _UNITS[size[-1].upper()])


def _given(**values: Any) -> dict[str, Any]:
    """Those that the file gives, so that the defaults stay in ``cwm_env.types``."""
    return {name: value for name, value in values.items() if value is not None}


def _metadata(file: schema.TaskFile) -> dict[str, Any]:
    """``[metadata]`` without our own table, and ``[task]`` under ``task``."""
    package = {} if file.task is None else {"task": file.task}
    return {**package, **(file.metadata.model_extra or {})}
