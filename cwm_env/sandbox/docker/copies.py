"""Copies of a container's files: in the engine, in another container, as a layer on disk."""

from __future__ import annotations

import json
import os
import tarfile
from collections.abc import Mapping
from pathlib import Path

from cwm_env.errors import SandboxError
from cwm_env.sandbox import layers
from cwm_env.sandbox.docker.engine import Engine
from cwm_env.sandbox.docker.sandbox import DockerSandbox
from cwm_env.sandbox.docker.tar import PieceReader
from cwm_env.sandbox.namespaces import files

_SCRATCH = ("/tmp", "/run", "/dev/shm")  # noqa: S108 - in the sandbox: in memory, so that no image holds them
_NO_LIMIT = 1 << 62


def commit(engine: Engine, container: str, labels: Mapping[str, str]) -> str:
    """Make an image of what a container's files are now; its id. Nothing in the container may be writing."""
    with engine.doing("copy a container"):
        changes = [f'LABEL {name}="{value}"' for name, value in labels.items()]
        made = engine.api.commit(container, changes=changes, pause=False)
        return str(made["Id"])


def copy_scratch(source: DockerSandbox, target: DockerSandbox) -> None:
    """Copy what lies in memory: an image does not hold it."""
    for path in _SCRATCH:
        restore = target.start_tool("restore", os.path.dirname(path), _NO_LIMIT, _NO_LIMIT)  # noqa: PTH120
        try:
            files.feed(restore, source.archive(path))
        except OSError as error:
            raise SandboxError(f"sandbox {source.id} could not be copied: {error}") from error


def save_top_layer(engine: Engine, image: str, directory: Path) -> None:
    """Write the last layer of an image into an empty directory, in the form that an overlay takes."""
    with engine.doing("save an image"):
        pieces = engine.api.get_image(image)
        wanted: str | None = None
        # The list of layers comes last in the archive of an old engine, so it is read twice.
        with tarfile.open(fileobj=PieceReader(pieces), mode="r|") as archive:
            for member in archive:
                if member.name == "manifest.json" and (file := archive.extractfile(member)):
                    wanted = json.load(file)[0]["Layers"][-1]
        with tarfile.open(fileobj=PieceReader(engine.api.get_image(image)), mode="r|") as archive:
            for member in archive:
                if member.name == wanted and (file := archive.extractfile(member)):
                    layers.unpack(file, directory)
                    return
    raise SandboxError(f"the engine's archive of image {image} has no layer")
