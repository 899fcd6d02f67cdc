"""Which images are built, and what belongs to them: one small JSON file for each name."""

from __future__ import annotations

import contextlib
import difflib
import hashlib
import json
import os
import secrets
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from cwm_env.errors import RecipeError
from cwm_env.images.plan import Plan
from cwm_env.types import Image


@dataclass(frozen=True, slots=True)
class Record:
    """A built image."""

    image: Image
    downloads: tuple[Path, ...]
    """What it was built from."""
    source: str = ""
    """For an image of others: what told that it had not changed."""


class Records:
    """The records in a cache."""

    def __init__(self, cache: Path) -> None:
        self._cache = cache

    def holds(self, image: Image) -> bool:
        """Whether exactly this image is built, and its layers are there."""
        record = self._read(self._path(image.name))
        return record is not None and record.image.digest == image.digest and _whole(image)

    def find(self, name: str) -> Record | None:
        """The record of a name, if its layers are there."""
        record = self._read(self._path(name))
        return record if record and _whole(record.image) else None

    def write(self, made: Plan) -> None:
        """Record that an image is built, in place of an earlier one of that name."""
        self.write_image(made.image, {need for step in made.steps for need in step.layer.needs()})

    def write_image(self, image: Image, downloads: Collection[str] = (), source: str = "") -> None:
        """The same for an image without a plan."""
        fields = {
            "name": image.name,
            "digest": image.digest,
            "layers": [layer.name for layer in image.layers],
            "workdir": image.workdir,
            "user": image.user,
            "env": dict(image.env),
            "host_mounts": image.host_mounts,
            "hidden": image.hidden,
            "downloads": sorted(downloads),
            "source": source,
        }
        path = self._path(image.name)
        beside = path.with_name(f".{secrets.token_hex(8)}")
        beside.write_text(json.dumps(fields))
        beside.rename(path)

    def all(self) -> list[Record]:
        """The records of images whose layers are there, by name."""
        read = [self._read(path) for path in (self._cache / "images").glob("*.json")]
        return sorted((record for record in read if record and _whole(record.image)), key=lambda r: r.image.name)

    def used(self) -> set[Path]:
        """The layers and downloads that belong to a built image."""
        return {path for record in self.all() for path in (*record.image.layers, *record.downloads)}

    def forget(self, name: str) -> None:
        """Drop the record of a name, or of a directory.

        Raises:
            RecipeError: there is none.
        """
        for path in {self._path(name), self._path(str(Path(name).resolve()))}:
            if path.exists():
                path.unlink()
                return
        known = [record.image.name for record in self.all()]
        close = difflib.get_close_matches(name, known, 2)
        hint = f": did you mean {' or '.join(close)}?" if close else f"; there are {', '.join(known) or 'none'}"
        raise RecipeError(f"no image {name!r} is built{hint}")

    def _path(self, name: str) -> Path:
        return self._cache / "images" / f"{hashlib.sha256(os.fsencode(name)).hexdigest()[:32]}.json"

    def _read(self, path: Path) -> Record | None:
        """The record in a file; None where it is missing or from another version of this package."""
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
            fields = json.loads(path.read_bytes())
            layers = tuple(self._cache / "layers" / key for key in fields.pop("layers"))
            downloads = tuple(self._cache / "downloads" / key for key in fields.pop("downloads"))
            source = fields.pop("source", "")
            mounts, hidden = tuple(fields.pop("host_mounts")), tuple(fields.pop("hidden"))
            return Record(Image(layers=layers, host_mounts=mounts, hidden=hidden, **fields), downloads, source)
        return None


def _whole(image: Image) -> bool:
    return all(layer.is_dir() for layer in image.layers)
