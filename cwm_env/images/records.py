"""Which images are built, and what belongs to them: one small JSON file for each name."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cwm_env.images.plan import Plan
from cwm_env.types import Image


@dataclass(frozen=True, slots=True)
class Record:
    """A built image."""

    image: Image
    downloads: frozenset[str]
    """Names of the downloads that it was built from."""


class Records:
    """The records in a cache."""

    def __init__(self, cache: Path) -> None:
        self._cache = cache

    def holds(self, image: Image) -> bool:
        """Whether exactly this image is built, and its layers are there."""
        record = self._read(self._path(image.name))
        return record is not None and record.image.digest == image.digest and _whole(image)

    def write(self, made: Plan) -> None:
        """Record that an image is built, in place of an earlier one of that name."""
        image = made.image
        fields = {
            "name": image.name,
            "digest": image.digest,
            "layers": [layer.name for layer in image.layers],
            "workdir": image.workdir,
            "user": image.user,
            "env": dict(image.env),
            "host_mounts": image.host_mounts,
            "hidden": image.hidden,
            "downloads": sorted({need for step in made.steps for need in step.layer.needs()}),
        }
        path = self._path(image.name)
        beside = path.with_name(f".{secrets.token_hex(8)}")
        beside.write_text(json.dumps(fields))
        beside.rename(path)

    def _path(self, name: str) -> Path:
        return self._cache / "images" / f"{hashlib.sha256(os.fsencode(name)).hexdigest()[:32]}.json"

    def _read(self, path: Path) -> Record | None:
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
            fields = json.loads(path.read_bytes())
            layers = tuple(self._cache / "layers" / key for key in fields.pop("layers"))
            downloads = frozenset(fields.pop("downloads"))
            for key in ("host_mounts", "hidden"):
                fields[key] = tuple(fields[key])
            return Record(Image(layers=layers, **fields), downloads)
        return None


def _whole(image: Image) -> bool:
    return all(layer.is_dir() for layer in image.layers)
