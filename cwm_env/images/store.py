"""The cache of images: builds what is missing, finds what is there, frees what nobody needs.

layers/KEY        a layer, whole: it is built in building/ and gets its name by a rename
images/NAME.json  which layers and downloads a built image has
downloads/KEY     what came from the package index
building/…        layers that are not whole; what a killed process left is removed by ``prune``
blobs/…           layers of images of others as they were fetched, which ``prune`` removes
same/DIGEST       the KEY of the layer that was exported as an archive of this digest
locks/…           one for each layer, one for downloads; ``store`` is shared by builders, alone with who removes
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from cwm_env.errors import DiskFull, ImageError
from cwm_env.images import foreign, recipe
from cwm_env.images.disk import file_system, locked, remove_tree, usage_of
from cwm_env.images.distribution import Login
from cwm_env.images.downloads import Downloads
from cwm_env.images.plan import Plan, Step, Tools, plan
from cwm_env.images.records import Records
from cwm_env.images.swebench import orders
from cwm_env.paths import cache_dir
from cwm_env.types import Image

_DIRECTORIES = ("building", "downloads", "images", "layers", "locks", "same")


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
        """The image if it is built, from the recipe as it is now; of an image of others, as it was fetched last.

        Raises:
            RecipeError: there is no such recipe, or it does not hold together.
        """
        if foreign.is_foreign(name):
            record = self._records.find(foreign.canonical(name))
            return record.image if record and record.source == foreign.fingerprint(name) else None
        order = self._order(name)
        if isinstance(order, orders.Official):
            found = self.find(order.reference)
            return order.adapted(found) if found else None
        if orders.is_order(name) and order is None:
            return None
        made = order.plan(self.directory) if order else self._plan(name)
        return made.image if self._records.holds(made.image) else None

    def get(self, name: str, *, progress: Callable[[str], None] | None = None) -> Image:
        """The image, built as far as it is missing.

        Args:
            name: of a shipped image, the path of a directory that holds an ``image.toml`` or a ``Dockerfile``, one
                that ``cwm_env.images.foreign`` lists, such as ``docker://REGISTRY/NAME:TAG``, or ``swebench:ID``.
            progress: called with a line of text when something that takes time begins.

        Raises:
            RecipeError: there is no such recipe, or it does not hold together.
            ImageError: it could not be built.
            DiskFull: no space is left where images are kept.
            SandboxError: a sandbox to build it in could not be made.
        """
        if foreign.is_foreign(name):
            return self.find(name) or self.fetch(name, progress=progress)
        order = self._order(name)
        if isinstance(order, orders.Official):
            return order.adapted(self.get(order.reference, progress=progress))
        if orders.is_order(name) and order is None:
            raise orders.unprepared(name)
        return self.build(order.plan(self.directory) if order else self._plan(name), progress=progress)

    def build(self, made: Plan, *, progress: Callable[[str], None] | None = None) -> Image:
        """The image of a plan, built as far as it is missing, and recorded unless it has no name."""
        if not self._records.holds(made.image):
            say = partial(_say, progress, made.image.name)
            with self._explained(f"image {made.image.name}: "), self.working():
                for step in made.steps:
                    self._build(step, say)
                if made.image.name:
                    self._records.write(made)
        return made.image

    @contextlib.contextmanager
    def working(self) -> Iterator[Path]:
        """While nothing is removed by others: a path below which what is needed meanwhile may lie."""
        self._prepare()
        room = self.directory / "building" / secrets.token_hex(8)
        with locked(self._lock("store"), shared=True):
            try:
                yield room
            finally:
                remove_tree(room)

    def tools(self, progress: Callable[[str], None]) -> Tools:
        """What layers are built with."""
        return Tools(Downloads(self.directory / "downloads", self._lock("downloads")), progress)

    def fetch(self, name: str, *, login: Login | None = None, progress: Callable[[str], None] | None = None) -> Image:
        """Fetch an image of others as it is now, or build its Dockerfile; layers that are here stay as they are.

        Args:
            name: as ``cwm_env.images.foreign`` lists them.
            login: for a registry; None takes what ``docker login`` or ``skopeo login`` keeps.
            progress: called with a line of text when something that takes time begins.

        Raises:
            RecipeError: there is no such file.
            ImageError: it cannot be fetched or built.
            DiskFull: no space is left where images are kept.
            SandboxError: a sandbox to unpack it in could not be made.
        """
        known = foreign.canonical(name)
        source = foreign.fingerprint(known)
        with self._explained(f"image {known}: "):
            say = partial(_say, progress, known)
            with self.working() as room:
                room.mkdir()
                found = foreign.fetch(known, room, self.directory / "blobs", login, say)
                paths = []
                for number, layer in enumerate(found.layers, 1):
                    say(f"unpacking layer {number} of {len(found.layers)}")
                    paths.append(self._same(layer.digest) or self._make_layer(layer.key, layer.unpack, say))
                image = found.image(known, tuple(paths))
                self._records.write_image(image, source=source)
        return image

    def export(self, name: str, path: Path, *, progress: Callable[[str], None] | None = None) -> None:
        """Write an image as an archive that ``docker load`` takes, and others that know such archives.

        Raises:
            RecipeError: there is no such image.
            ImageError: it cannot be built or read, or shows directories of this machine.
            DiskFull: no space is left.
        """
        from cwm_env.sandbox.docker.images import tag_of, write_archive

        image = self.get(name, progress=progress)
        with self._explained(f"image {image.name}: "), path.open("wb") as out:
            digests = write_archive(image, tag_of(image), out)
            for layer, digest in zip(image.layers, digests, strict=True):  # what comes back shares them
                (self.directory / "same" / digest).write_text(layer.name)

    def usage(self) -> tuple[dict[str, tuple[int, int]], int]:
        """Bytes on disk: of each image by name, all its layers and those that no other has; and of all together."""
        return usage_of({image.name: image.layers for image in self.list()})

    def list(self) -> tuple[Image, ...]:
        """The images that are built, by name; also those whose recipe has changed since or is gone."""
        return tuple(record.image for record in self._records.all())

    def remove(self, name: str) -> int:
        """Remove a built image, and the layers that no other one has. Sandboxes of it must have ended.

        Returns:
            How many bytes became free.

        Raises:
            RecipeError: no image of that name is built.
            ImageError: it could not be removed.
        """
        with self._alone():
            before = self._records.used()
            self._records.forget(name)
            return sum(self._discard(path) for path in before - self._records.used() if path.parent.name == "layers")

    def prune(self) -> int:
        """Remove layers and downloads that no built image has, and what killed builders left behind.

        Sandboxes of images that were built anew since must have ended.

        Returns:
            How many bytes became free.

        Raises:
            ImageError: something could not be removed.
        """
        with self._alone():
            used = self._records.used()
            known = [path for name in ("layers", "downloads") for path in (self.directory / name).iterdir()]
            freed = sum(self._discard(path) for path in known if path not in used)
            locks = [path for path in (self.directory / "locks").iterdir() if path.name != "store"]
            rest = [*(self.directory / "building").iterdir(), *locks, self.directory / "blobs"]
            rest += [path for path in (self.directory / "same").iterdir() if self._same(f":{path.name}") is None]
            return freed + sum(map(remove_tree, rest))

    def _plan(self, name: str) -> Plan:
        return plan(recipe.chain(name), self.directory)

    def _order(self, name: str) -> orders.Order | orders.Official | None:
        """What was prepared for an instance of SWE-bench; None for other names, too."""
        return orders.of(name, self.directory) if orders.is_order(name) else None

    def _lock(self, name: str) -> Path:
        return self.directory / "locks" / name

    def _prepare(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        for name in _DIRECTORIES:
            (self.directory / name).mkdir(mode=0o700, exist_ok=True)
        # The owner of a layer's files is the user in whose sandboxes they belong to root.
        if (self.directory / "layers").stat().st_uid != os.geteuid():
            raise ImageError(f"{self.directory} belongs to another user: set CWM_ENV_CACHE to a directory of your own")
        if file_system(self.directory) == "overlay":  # the kernel lets none be written through another one
            raise ImageError(
                f"{self.directory} lies on an overlay file system, as a container's own files do, where no layer can "
                "be built: set CWM_ENV_CACHE to a directory on a volume"
            )

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """While nobody builds."""
        with self._explained(""):
            self._prepare()
            with locked(self._lock("store")):
                yield

    def _build(self, step: Step, progress: Callable[[str], None]) -> None:
        """Make the layer of ``step``: in a directory of its own, which gets its name once it is whole."""

        def fill(target: Path) -> None:
            progress(f"building the layer {step.layer.kind!r}")
            step.layer.build(step.below, target, self.tools(progress))

        self._make_layer(step.key, fill, progress)

    def _same(self, digest: str) -> Path | None:
        """The layer that was exported with this digest, if it is still there."""
        try:
            layer = self.directory / "layers" / (self.directory / "same" / digest.partition(":")[2]).read_text()
        except FileNotFoundError:
            return None
        return layer if layer.is_dir() else None

    def _make_layer(self, key: str, fill: Callable[[Path], None], progress: Callable[[str], None]) -> Path:
        """Have ``fill`` write a layer into an empty directory, unless it is there; where it is."""
        layer = self.directory / "layers" / key
        if layer.is_dir():
            return layer
        with locked(self._lock(key), waiting=lambda: progress("waiting for another process that builds it")):
            if layer.is_dir():
                return layer
            room = self.directory / "building" / f"{key}-{secrets.token_hex(4)}"
            target = room / "layer"
            target.mkdir(parents=True)
            target.chmod(0o755)
            try:
                fill(target)
                target.rename(layer)
            finally:
                remove_tree(room)
        return layer

    def _discard(self, path: Path) -> int:
        """Remove what others take to be whole while it has its name."""
        doomed = self.directory / "building" / secrets.token_hex(8)
        path.rename(doomed)
        return remove_tree(doomed)

    @contextlib.contextmanager
    def _explained(self, prefix: str) -> Iterator[None]:
        """Say which image an error belongs to, and what an error of the file system means."""
        try:
            yield
        except (ImageError, DiskFull) as error:
            raise type(error)(f"{prefix}{error}") from error.__cause__
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise DiskFull(f"{prefix}no space is left in {self.directory}: free some and try again") from error
            raise ImageError(f"{prefix}{error.strerror or error} ({error.filename or self.directory})") from error


def _say(progress: Callable[[str], None] | None, name: str, text: str) -> None:
    if progress:
        progress(f"{name}: {text}" if name else text)
