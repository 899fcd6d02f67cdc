"""Images that others made: which names mean them, and where they are fetched from.

    docker://REGISTRY/NAME:TAG    a registry (also ``@sha256:…``), through skopeo
    docker-daemon:NAME:TAG        the Docker engine
    docker-archive:PATH           what ``docker save`` wrote
    oci-archive:PATH, oci:PATH    an OCI layout, packed or not, through skopeo
    a directory with a Dockerfile, built by the Docker engine, or by buildah where there is none

The words before the colon are those of skopeo, podman and buildah. skopeo speaks to registries because it is the
reference for all that is hard in it (indexes of many machines, tokens, retries, digests), and every distribution has
it; ``distribution`` adds what it lacks, going on within a layer. What is left, unpacking layers, needs our own sandbox.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from cwm_env.errors import ImageError, RecipeError, SandboxUnavailable
from cwm_env.images.distribution import Login, fetch_layers, is_local
from cwm_env.images.oci import Contents, read_docker_archive, read_layout
from cwm_env.sandbox.docker.engine import Engine

_TRANSPORTS = ("docker://", "docker-daemon:", "docker-archive:", "oci-archive:", "oci:")
_SECONDS = 3600.0
_RETRIES = "3"
_LINES = 8
_CHUNK = 1 << 20
_FATAL = re.compile(r'level=fatal msg=(".*")$', re.MULTILINE)
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


def is_foreign(name: str) -> bool:
    """Whether a name means an image that others made."""
    return name.startswith(_TRANSPORTS) or is_dockerfile(name)


def is_dockerfile(name: str) -> bool:
    """Whether a name is that of a directory with a Dockerfile, and no recipe of ours."""
    try:
        directory = Path(name)
        return (directory / "Dockerfile").is_file() and not (directory / "image.toml").exists()
    except (OSError, ValueError):
        return False


def canonical(name: str) -> str:
    """The name under which an image is kept: paths are made absolute."""
    for transport in ("docker-archive:", "oci-archive:", "oci:"):
        if name.startswith(transport):
            return transport + str(Path(name.removeprefix(transport)).resolve())
    return str(Path(name).resolve()) if is_dockerfile(name) else name


def fingerprint(name: str) -> str:
    """What the content of a directory with a Dockerfile is; empty for other names, which say it themselves.

    Raises:
        ImageError: it cannot be read.
    """
    if not is_dockerfile(name):
        return ""
    digest = hashlib.sha256()
    try:
        for path in sorted(Path(name).rglob("*")):
            mode = path.lstat().st_mode
            digest.update(f"{path.relative_to(name)}\0{mode:o}\0".encode("utf-8", "surrogateescape"))
            if path.is_symlink():
                digest.update(os.fsencode(path.readlink()))
            elif path.is_file():
                digest.update(hashlib.sha256(path.read_bytes()).digest())
    except OSError as error:
        raise ImageError(f"{error.filename}: cannot be read: {error.strerror}") from error
    return digest.hexdigest()


def fetch(name: str, room: Path, blobs: Path, login: Login | None, say: Callable[[str], None]) -> Contents:
    """Bring an image's parts here.

    Args:
        room: an empty directory for what is needed until the image is unpacked.
        blobs: where downloaded layers are kept, so that what was interrupted goes on, and nothing is fetched twice.

    Raises:
        ImageError: it cannot be fetched or built.
        RecipeError: there is no such file.
    """
    if is_dockerfile(name):
        say("building the Dockerfile")
        return read_docker_archive(_build(Path(name), room))
    if name.startswith("docker-daemon:"):
        say("saving the image")
        return read_docker_archive(_save(name.removeprefix("docker-daemon:"), room))
    if name.startswith("docker-archive:"):
        return read_docker_archive(_existing(name.removeprefix("docker-archive:")))
    if not name.startswith("docker://"):
        _existing(name.partition(":")[2])
    say("fetching the layers")
    _skopeo(name, room, blobs, login, say)
    return read_layout(room / "layout", room / "blobs")


def _existing(path: str) -> Path:
    if not Path(path).exists():
        raise RecipeError(f"{path}: no such file")
    return Path(path)


def _skopeo(name: str, room: Path, blobs: Path, login: Login | None, say: Callable[[str], None]) -> None:
    if shutil.which("skopeo") is None:
        raise ImageError("images of registries and OCI archives need skopeo: run `apt-get install skopeo`")
    skopeo, complaint = ["skopeo", "--override-os=linux"], "it could not be fetched"
    access: list[str] = []
    found: list[str] = []
    if name.startswith("docker://"):
        host = name.removeprefix("docker://").partition("/")[0]
        if is_local(host):
            access.append("tls-verify=false")
        if login:
            access.append(f"authfile={_auth_file(room, host, login)}")
        options = [f"--{option}" for option in access]
        inspect = [*skopeo, "inspect", "--no-tags", f"--retry-times={_RETRIES}", "--format={{.Layers}}"]
        found = _DIGEST.findall(run([*inspect, *options, name], complaint))
        fetch_layers(name, found, blobs, login, say)
    # A directory of this pull's own: skopeo writes manifests in place, and another pull would read half of one.
    own = room / "blobs"
    _link(found, blobs, own)
    copy = [*skopeo, "copy", "--quiet", f"--retry-times={_RETRIES}", f"--dest-shared-blob-dir={own}"]
    copy += [f"--src-{option}" for option in access]
    run([*copy, name, f"oci:{room / 'layout'}:image"], complaint)
    _link(found, own, blobs)


def _link(digests: Iterable[str], source: Path, target: Path) -> None:
    """Have ``target`` share the blobs that ``source`` has and it has not."""
    (target / "sha256").mkdir(parents=True, exist_ok=True)
    for digest in digests:
        path = digest.replace(":", "/")
        with contextlib.suppress(FileNotFoundError, FileExistsError):
            (target / path).hardlink_to(source / path)


def _auth_file(room: Path, host: str, login: Login) -> Path:
    """Not on the command line, which every user of the machine sees."""
    path = room / "auth.json"
    path.touch(mode=0o600)
    path.write_text(json.dumps({"auths": {host: {"auth": login.encoded}}}))
    return path


def _save(reference: str, room: Path) -> Path:
    engine = Engine()
    path = room / "image.tar"
    try:
        with path.open("wb") as out, engine.doing(f"save image {reference}"):
            for piece in engine.api.get_image(reference, chunk_size=_CHUNK):
                out.write(piece)
    finally:
        engine.close()
    return path


def _build(context: Path, room: Path) -> Path:
    try:
        engine = Engine()
    except SandboxUnavailable as error:
        if shutil.which("buildah") is None:
            raise ImageError(f"a Dockerfile needs the Docker engine, or buildah: {error}") from error
        return _build_without_engine(context, room)
    try:
        image = _build_with(engine, context)
    finally:
        engine.close()
    return _save(image, room)


def _build_with(engine: Engine, context: Path) -> str:
    """Build with the engine; the image's id. It stays there, so that the Docker backend needs no copy of it."""
    said: list[str] = []
    with engine.doing("build a Dockerfile"):
        for row in engine.api.build(path=str(context), rm=True, forcerm=True, decode=True):
            said.append(row.get("stream", ""))
            if "error" in row:
                tail = "\n".join("".join(said).strip().splitlines()[-_LINES:])
                raise ImageError(f"{context / 'Dockerfile'}: {row['error']}\n{tail}")
            if "ID" in (aux := row.get("aux") or {}):
                image: str = aux["ID"]
    return image


def _build_without_engine(context: Path, room: Path) -> Path:
    archive, tag = room / "image.tar", f"cwm-env-{fingerprint(str(context))[:16]}"
    build = ["buildah", "bud", "--isolation=chroot", "--layers", "--quiet", "--tag", tag, str(context)]
    run(build, f"{context / 'Dockerfile'} could not be built")
    run(["buildah", "push", "--quiet", tag, f"docker-archive:{archive}:{tag}:latest"], f"{tag} could not be saved")
    return archive


def run(command: list[str], complaint: str, env: Mapping[str, str] | None = None) -> str:
    """Run a program; what it printed.

    Raises:
        ImageError: it failed; the message says ``complaint`` and the last that it printed.
    """
    with tempfile.TemporaryFile() as said:
        try:
            done = subprocess.run(
                command, stdout=said, stderr=said, stdin=subprocess.DEVNULL, timeout=_SECONDS, env=env
            )
        except subprocess.TimeoutExpired:
            raise ImageError(f"{complaint}: {command[0]} did not end within {_SECONDS:.0f} seconds") from None
        said.seek(0)
        text = said.read().decode("utf-8", "replace")
        if done.returncode:
            if fatal := _FATAL.search(text):  # skopeo's and podman's last word; before it come its retries
                raise ImageError(f"{complaint}: {json.loads(fatal[1])}")
            tail = "\n".join(text.strip().splitlines()[-_LINES:])
            raise ImageError(f"{complaint}; {command[0]} said:\n{tail}")
        return text
