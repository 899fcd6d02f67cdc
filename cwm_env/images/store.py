"""The cache of images: builds what is missing, finds what is there, frees what nobody needs."""

from __future__ import annotations

import contextlib
import errno
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

from cwm_env.errors import DiskFull, ImageError
from cwm_env.images import recipe
from cwm_env.images.disk import locked, remove_tree
from cwm_env.images.downloads import Downloads
from cwm_env.images.plan import Plan, Step, Tools, plan
from cwm_env.images.records import Records
from cwm_env.paths import cache_dir
from cwm_env.types import Image

_DIRECTORIES = ("building", "downloads", "images", "layers", "locks")


class ImageStore:
    """Images in a directory. Safe for many threads and processes at once."""

    def __init__(self, directory: Path | None = None) -> None:
        """Nothing is written before the first build.

        Args:
            directory: where images are kept; None for ``cwm_env.paths.cache_dir()``.
        """
        self.directory = (directory or cache_dir()).absolute()
        self._records = Records(self.directory)

    def find(self, name: str) -> Image | None:
        """The image if it is built, from the recipe as it is now.

        Raises:
            RecipeError: there is no such recipe, or it does not hold together.
        """
        made = self._plan(name)
        return made.image if self._records.holds(made.image) else None

    def get(self, name: str, *, progress: Callable[[str], None] | None = None) -> Image:
        """The image, built as far as it is missing.

        Args:
            name: of a shipped image, or the path of a directory that holds an ``image.toml``.
            progress: called with a line of text when something that takes time begins.

        Raises:
            RecipeError: there is no such recipe, or it does not hold together.
            ImageError: it could not be built.
            DiskFull: no space is left where images are kept.
            SandboxError: a sandbox to build it in could not be made.
        """
        made = self._plan(name)
        if not self._records.holds(made.image):
            say = progress or (lambda _: None)
            with _explained(made.image.name, self.directory):
                self._prepare()
                with locked(self._lock("store"), shared=True):
                    for step in made.steps:
                        self._build(step, lambda text: say(f"{made.image.name}: {text}"))
                    self._records.write(made)
        return made.image

    def _plan(self, name: str) -> Plan:
        return plan(recipe.chain(name), self.directory)

    def _lock(self, name: str) -> Path:
        return self.directory / "locks" / name

    def _prepare(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        for name in _DIRECTORIES:
            (self.directory / name).mkdir(mode=0o700, exist_ok=True)

    def _build(self, step: Step, progress: Callable[[str], None]) -> None:
        """Make the layer of ``step``: in a directory of its own, which gets its name once it is whole."""
        layer = self.directory / "layers" / step.key
        if layer.is_dir():
            return
        with locked(self._lock(step.key), waiting=lambda: progress("waiting for another process that builds it")):
            if layer.is_dir():
                return
            progress(f"building the layer {step.layer.kind!r}")
            room = self.directory / "building" / f"{step.key}-{secrets.token_hex(4)}"
            target = room / "layer"
            target.mkdir(parents=True)
            target.chmod(0o755)
            try:
                downloads = Downloads(self.directory / "downloads", self._lock("downloads"))
                step.layer.build(step.below, target, Tools(downloads, progress))
                target.rename(layer)
            finally:
                remove_tree(room)


@contextlib.contextmanager
def _explained(name: str, directory: Path) -> Iterator[None]:
    """Say which image an error belongs to, and what an error of the file system means."""
    try:
        yield
    except ImageError as error:
        raise ImageError(f"image {name}: {error}") from error
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFull(f"image {name}: no space is left in {directory}: free some and try again") from error
        raise ImageError(f"image {name}: {error.strerror or error} ({error.filename or directory})") from error
