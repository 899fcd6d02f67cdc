"""Which image of the engine stands for an image of the cache, brought there when it is first used."""

from __future__ import annotations

import hashlib
import io
import json
import os
import platform
import tarfile
import tempfile
import threading
from collections.abc import Iterator
from typing import IO, Any

from cwm_env.errors import ImageError
from cwm_env.sandbox import layers
from cwm_env.sandbox.docker.engine import Engine
from cwm_env.types import Image

REPOSITORY = "cwm-env"
_CHUNK = 1 << 20
_MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}
_loading = threading.Lock()


def reference(engine: Engine, image: Image) -> str:
    """The engine's name for ``image``.

    An image that came from the engine or a registry has the same id there; of others the layers are loaded, once.

    Raises:
        ImageError: it shows directories of this machine, or a layer is lost.
        DiskFull: the engine has no space left.
    """
    if image.host_mounts:
        raise ImageError(
            f"image {image.name} shows directories of this machine (base 'host'), which no container has: "
            'take base = "debian:bookworm", or the embedded backend'
        )
    if image.digest.startswith("sha256:") and engine.has_image(image.digest):
        return image.digest
    tag = tag_of(image)
    with _loading:
        if not engine.has_image(tag):
            with tempfile.TemporaryFile() as archive:
                write_archive(image, tag, archive)
                archive.seek(0)
                engine.load_image(iter(lambda: archive.read(_CHUNK), b""))
    return tag


def tag_of(image: Image) -> str:
    """The name that an image of the cache has in an engine.

    Raises:
        ImageError: it shows directories of this machine, and can be in none.
    """
    if image.host_mounts:
        raise ImageError(
            f"image {image.name} shows directories of this machine (base 'host'), which no container has: "
            "take base = 'debian:bookworm', or the embedded backend"
        )
    return f"{REPOSITORY}:{hashlib.sha256(image.digest.encode()).hexdigest()[:32]}"


def write_archive(image: Image, tag: str, out: IO[bytes]) -> list[str]:
    """Write an image as an archive that ``docker load``, ``podman load`` and ``skopeo`` (``docker-archive:``) read.

    Returns:
        The digest of each layer's archive, in hexadecimal.

    Raises:
        ImageError: a layer is lost.
        OSError: it cannot be written.
    """
    with tarfile.open(fileobj=out, mode="w|", format=tarfile.PAX_FORMAT) as archive:
        names, digests = [], []
        for number, (layer, digest, size) in enumerate(_packed(image)):
            names.append(f"{number}.tar")
            digests.append(digest)
            member = tarfile.TarInfo(names[-1])
            member.size = size
            archive.addfile(member, layer)
        config = json.dumps(_config(image, digests), sort_keys=True).encode()
        config_name = f"{hashlib.sha256(config).hexdigest()}.json"
        manifest = json.dumps([{"Config": config_name, "RepoTags": [tag], "Layers": names}]).encode()
        for name, data in ((config_name, config), ("manifest.json", manifest)):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return digests


def _packed(image: Image) -> Iterator[tuple[IO[bytes], str, int]]:
    """Each layer as an archive, its digest and its size."""
    for directory in image.layers:
        if not directory.is_dir():
            raise ImageError(f"image {image.name} has lost its layer {directory}: build it again")
        with tempfile.TemporaryFile() as file:
            layers.pack(directory, file)
            size = file.tell()
            file.seek(0)
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            file.seek(0)
            yield file, digest, size


def _config(image: Image, digests: list[str]) -> dict[str, Any]:
    machine = os.uname().machine
    return {
        "architecture": _MACHINES.get(machine, machine),
        "os": platform.system().lower(),
        "config": {
            "Env": [f"{name}={value}" for name, value in image.env.items()],
            "WorkingDir": image.workdir,
            "User": image.user,
            "Cmd": ["bash"],
        },
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}" for digest in digests]},
        "history": [{"created_by": "cwm-env"} for _ in digests],
    }
