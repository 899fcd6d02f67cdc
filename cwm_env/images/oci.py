"""What an image of others is made of: its configuration and its layers, read from an OCI layout or a Docker archive."""

from __future__ import annotations

import hashlib
import io
import json
import re
import tarfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

from cwm_env.errors import ImageError, SandboxError
from cwm_env.sandbox import layers
from cwm_env.types import Image

_DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_LARGEST_JSON = 16 << 20


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer."""

    digest: str
    """``sha256:…`` of its archive as it is without compression: the same layer has the same one everywhere."""
    open: Callable[[], AbstractContextManager[IO[bytes]]]
    """Its archive, maybe compressed."""

    @property
    def key(self) -> str:
        """Its name in the cache."""
        return f"oci-{self.digest.removeprefix('sha256:')}"

    def unpack(self, directory: Path) -> None:
        """Unpack it into an empty directory.

        Raises:
            ImageError: it is damaged, or cannot be unpacked.
            DiskFull: no space is left.
        """
        with self.open() as file:
            archive = _Hashing(_decompressed(file))
            try:
                layers.unpack(cast("IO[bytes]", archive), directory)
            except SandboxError as error:
                if type(error) is not SandboxError:
                    raise
                raise ImageError(str(error)) from error
            archive.finish()
        if archive.digest != self.digest:
            raise ImageError(
                f"a layer is damaged (its digest is {archive.digest}, not {self.digest}): run `cwm-env images prune`, "
                "which removes what was downloaded, and fetch it again"
            )


@dataclass(frozen=True, slots=True)
class Contents:
    """An image as it was found."""

    digest: str
    """``sha256:…`` of its configuration, which is its id in Docker."""
    env: dict[str, str]
    workdir: str
    user: str
    layers: tuple[Layer, ...]

    def image(self, name: str, paths: tuple[Path, ...]) -> Image:
        """The image that it becomes, its layers at ``paths``."""
        return Image(name, self.digest, paths, self.workdir, self.user, self.env)


def read_docker_archive(path: Path) -> Contents:
    """What ``docker save`` wrote.

    Raises:
        ImageError: it is none, or holds several images.
    """
    try:
        with tarfile.open(path) as archive:
            manifest = _json(archive, "manifest.json")
            if len(manifest) != 1:
                raise ImageError(f"{path}: holds {len(manifest)} images; save one at a time")
            raw = _member(archive, manifest[0]["Config"]).read()
            names = manifest[0]["Layers"]
    except (tarfile.TarError, OSError, ValueError, KeyError, TypeError) as error:
        raise ImageError(f"{path}: is not an archive of a Docker image ({error})") from error
    return _contents(raw, [_in_archive(path, name) for name in names])


def transport_of(path: Path) -> str:
    """The word for what lies at ``path``: ``oci``, ``oci-archive`` or ``docker-archive``."""
    if path.is_dir():
        return "oci"
    try:
        with tarfile.open(path) as archive:
            names = {member.name.removeprefix("./") for member in archive}
    except (tarfile.TarError, OSError) as error:
        raise ImageError(f"{path}: is not an archive of an image ({error})") from error
    return "docker-archive" if "manifest.json" in names else "oci-archive"


def read_layout(layout: Path, blobs: Path) -> Contents:
    """What skopeo wrote: an OCI layout with one image, whose parts lie in ``blobs``.

    Raises:
        ImageError: it is damaged.
    """
    try:
        index = json.loads((layout / "index.json").read_bytes())
        manifest = json.loads(_blob(blobs, index["manifests"][0]["digest"]).read_bytes())
        raw = _blob(blobs, manifest["config"]["digest"]).read_bytes()
        found = [_blob(blobs, layer["digest"]) for layer in manifest["layers"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ImageError(f"the image's layout cannot be read: {error}") from error
    return _contents(raw, [lambda path=path: path.open("rb") for path in found])  # type: ignore[misc]


def _contents(raw: bytes, opened: list[Callable[[], AbstractContextManager[IO[bytes]]]]) -> Contents:
    try:
        config = json.loads(raw)
        digests = config["rootfs"]["diff_ids"]
        run: dict[str, Any] = config.get("config") or {}
        env = dict(entry.split("=", 1) for entry in run.get("Env") or [] if "=" in entry)
        if len(digests) != len(opened) or not all(_DIGEST.fullmatch(digest) for digest in digests):
            raise ValueError("its layers and their digests do not agree")
    except (ValueError, KeyError, TypeError) as error:
        raise ImageError(f"the image's configuration cannot be read: {error}") from error
    return Contents(
        digest=f"sha256:{hashlib.sha256(raw).hexdigest()}",
        env={"PATH": _DEFAULT_PATH, **env},
        workdir=run.get("WorkingDir") or "/",
        user=run.get("User") or "root",
        layers=tuple(Layer(digest, open_) for digest, open_ in zip(digests, opened, strict=True)),
    )


def _blob(blobs: Path, digest: str) -> Path:
    if not _DIGEST.fullmatch(digest):
        raise ValueError(f"{digest!r} is not a digest")
    return blobs / "sha256" / digest.removeprefix("sha256:")


def _in_archive(path: Path, name: str) -> Callable[[], AbstractContextManager[IO[bytes]]]:
    @contextmanager
    def opened() -> Iterator[IO[bytes]]:
        with tarfile.open(path) as archive:
            yield _member(archive, name)

    return opened


def _member(archive: tarfile.TarFile, name: str) -> IO[bytes]:
    """A file of an archive; links within it are followed, as old engines write them for layers that repeat."""
    file = archive.extractfile(name)
    if file is None:
        raise ValueError(f"{name} is not a file")
    return file


def _json(archive: tarfile.TarFile, name: str) -> Any:
    return json.loads(_member(archive, name).read(_LARGEST_JSON))


def _decompressed(file: IO[bytes]) -> IO[bytes]:
    """The same without gzip or zstd."""
    start = file.read(4)
    file.seek(0)
    if start[:2] == b"\x1f\x8b":
        import gzip

        return cast("IO[bytes]", gzip.GzipFile(fileobj=file))
    if start == b"\x28\xb5\x2f\xfd":
        try:
            import zstandard
        except ImportError:
            raise ImageError("the image's layers are compressed with zstd: pip install 'cwm-env[docker]'") from None
        return cast("IO[bytes]", zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True))
    return file


class _Hashing(io.RawIOBase):
    """A file that notes the digest of what is read from it."""

    def __init__(self, file: IO[bytes]) -> None:
        super().__init__()
        self._file, self._hash = file, hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        """Up to ``size`` bytes."""
        data = self._file.read(size)
        self._hash.update(data)
        return data

    def finish(self) -> None:
        """Read what a reader of archives leaves: the padding at the end."""
        while self.read(1 << 20):
            pass

    @property
    def digest(self) -> str:
        """``sha256:…`` of all that was read."""
        return f"sha256:{self._hash.hexdigest()}"
