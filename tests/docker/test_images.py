"""Images from everywhere become one cache of shared layers, and run the same on the embedded sandbox."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from cwm_env.errors import ImageError
from cwm_env.images import ImageStore
from cwm_env.images.distribution import Login
from cwm_env.sandbox.namespaces.backend import NamespacesBackend
from cwm_env.sandbox.run import Completed, run
from cwm_env.types import Image, Limits
from tests.docker.conftest import docker

DOCKERFILE = """
FROM {base}
ENV FOO="a b" PATH=/opt/bin:/usr/bin:/bin
COPY hello.txt /opt/hello.txt
RUN rm -rf /repo/old && mkdir /repo/old && echo new > /repo/old/new && rm /repo/kept
RUN chown 1000:1001 /opt/hello.txt && chmod 2755 /repo/old && ln -s /opt /repo/soft && ln /opt/hello.txt /opt/hard
WORKDIR /repo
USER agent
"""
LOOK = "id -un; pwd; echo $FOO; ls -R; cat /opt/hard; stat -c '%u:%g %a %h' /opt/hello.txt; stat -c %a old"
SEEN = "agent\n/repo\na b\n.:\nlink\nold\nsoft\n\n./old:\nnew\nhello\n1000:1001 644 2\n2755\n"


@pytest.fixture(scope="module")
def base(small: Image) -> str:
    """The small image in the engine, under a name."""
    archive = subprocess.Popen(["tar", "-C", str(small.layers[0]), "-c", "."], stdout=subprocess.PIPE)
    subprocess.run(["docker", "import", "-", "t/base:1"], stdin=archive.stdout, check=True, capture_output=True)
    archive.communicate()
    return "t/base:1"


@pytest.fixture(scope="module")
def context(base: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a Dockerfile."""
    directory = tmp_path_factory.mktemp("context")
    (directory / "Dockerfile").write_text(DOCKERFILE.format(base=base))
    (directory / "hello.txt").write_text("hello\n")
    return directory


@pytest.fixture
def own_store(tmp_path: Path) -> ImageStore:
    """An empty cache."""
    return ImageStore(tmp_path / "cache")


def looked(image: Image) -> str:
    backend = NamespacesBackend()
    try:
        sandbox = backend.create(image, Limits())
        done: Completed = run(
            sandbox, ["bash", "-c", LOOK], env=dict(image.env), cwd=image.workdir, user=image.user, timeout=20
        )
        return done.stdout.decode()
    finally:
        backend.close()


@pytest.fixture(scope="module")
def built(context: Path) -> str:
    """The Dockerfile's image, in the engine."""
    docker("build", "--quiet", "--tag", "t/built:1", str(context))
    return "t/built:1"


@pytest.fixture(scope="module")
def pushed(built: str, registry: str) -> str:
    """The same in the registry."""
    docker("tag", built, f"{registry}/t/built:1")
    docker("push", "--quiet", f"{registry}/t/built:1")
    return f"docker://{registry}/t/built:1"


def test_a_dockerfile_is_built_once_and_keeps_user_workdir_and_env(own_store: ImageStore, context: Path) -> None:
    image = own_store.get(str(context))
    assert (image.user, image.workdir, image.env["FOO"]) == ("agent", "/repo", "a b")
    assert looked(image) == SEEN
    assert own_store.find(str(context)) == image
    (context / "hello.txt").touch(mode=0o600)
    (context / "more.txt").write_text("")
    assert own_store.find(str(context)) is None
    (context / "more.txt").unlink()


def test_the_same_image_from_engine_registry_and_archive(
    own_store: ImageStore, built: str, pushed: str, tmp_path: Path
) -> None:
    docker("save", "--output", str(tmp_path / "image.tar"), built)
    subprocess.run(
        ["skopeo", "copy", "-q", f"docker-archive:{tmp_path}/image.tar", f"oci-archive:{tmp_path}/oci.tar:x"],
        check=True,
    )
    names = [
        f"docker-daemon:{built}",
        pushed,
        f"docker-archive:{tmp_path}/image.tar",
        f"oci-archive:{tmp_path}/oci.tar",
    ]
    images = [own_store.get(name) for name in names]
    assert len({image.layers for image in images}) == 1, "the layers are not stored once"
    assert looked(images[1]) == SEEN
    each, total = own_store.usage()
    assert len(each) == 4 and {size for size, _ in each.values()} == {total}
    assert {own for _, own in each.values()} == {0}


def test_zstd_layers_and_an_index_of_several_machines(
    own_store: ImageStore, built: str, registry: str, tmp_path: Path
) -> None:
    where = f"{registry}/t/zstd"
    flags = ["--dest-tls-verify=false", "--dest-compress-format=zstd", "--format=oci", *daemon()]
    command = ["skopeo", "copy", "-q", *flags, f"docker-daemon:{built}", f"docker://{where}:1"]
    # What skopeo remembers of blobs elsewhere would have it mount them as they are.
    subprocess.run(command, check=True, env={**os.environ, "HOME": str(tmp_path), "XDG_DATA_HOME": str(tmp_path)})
    kind = "application/vnd.oci.image.manifest.v1+json"
    answer = requests.get(f"http://{registry}/v2/t/zstd/manifests/1", headers={"Accept": kind}, timeout=10)
    manifest = answer.json()
    assert all(layer["mediaType"].endswith("+zstd") for layer in manifest["layers"]), manifest
    entry = {"mediaType": kind, "digest": answer.headers["Docker-Content-Digest"], "size": len(answer.content)}
    platforms = ({"architecture": "s390x", "os": "linux"}, {"architecture": "amd64", "os": "linux"})
    index = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [{**entry, "platform": platform} for platform in platforms],
    }
    put = requests.put(
        f"http://{registry}/v2/t/zstd/manifests/many",
        data=json.dumps(index),
        headers={"Content-Type": index["mediaType"]},  # type: ignore[dict-item]
        timeout=10,
    )
    assert put.status_code == 201
    assert looked(own_store.get(f"docker://{where}:many")) == SEEN


def test_a_private_registry_is_asked_with_a_password(own_store: ImageStore, built: str, private: str) -> None:
    name = f"docker://{private}/t/built:1"
    with pytest.raises(ImageError, match="could not be fetched"):
        own_store.fetch(name)
    with pytest.raises(ImageError, match="could not be fetched"):
        own_store.fetch(name, login=Login("somebody", "wrong"))
    assert own_store.fetch(name, login=Login("somebody", "secret")).workdir == "/repo"


@pytest.fixture
def private(built: str, tmp_path: Path, registry: str) -> Iterator[str]:
    """A registry that wants a password, holding the image."""
    address = "127.0.0.1:5056"
    salt = "$2b$05$abcdefghijklmnopqrstuu"
    hashed = subprocess.run(
        ["perl", "-e", f"print crypt('secret', '{salt}')"], capture_output=True, text=True, check=True
    )
    (tmp_path / "htpasswd").write_text(f"somebody:{hashed.stdout}\n")
    (tmp_path / "registry.yml").write_text(
        f"version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {tmp_path}/registry}}}}\n"
        f"http: {{addr: '{address}'}}\nauth: {{htpasswd: {{realm: r, path: {tmp_path}/htpasswd}}}}\n"
    )
    process = subprocess.Popen(["docker-registry", "serve", str(tmp_path / "registry.yml")], stderr=subprocess.DEVNULL)
    try:
        command = ["skopeo", "copy", "-q", "--retry-times=5", "--dest-tls-verify=false", "--dest-creds=somebody:secret"]
        subprocess.run([*command, f"docker-daemon:{built}", f"docker://{address}/t/built:1", *daemon()], check=True)
        yield address
    finally:
        process.terminate()
        process.wait()


def daemon() -> list[str]:
    return [f"--src-daemon-host={os.environ['DOCKER_HOST']}"]


def test_what_was_fetched_is_fetched_again_only_where_it_is_missing(own_store: ImageStore, pushed: str) -> None:
    image = own_store.get(pushed)
    stamps = {layer: layer.stat().st_ctime_ns for layer in image.layers}
    blobs = {path: came(path) for path in (own_store.directory / "blobs/sha256").iterdir()}
    assert len(blobs) == len(image.layers)
    shutil.rmtree(image.layers[-1])
    again = own_store.get(pushed)
    assert again == image
    assert {layer: layer.stat().st_ctime_ns for layer in image.layers[:-1]} == dict(list(stamps.items())[:-1])
    assert {path: came(path) for path in blobs} == blobs, "a layer was downloaded twice"
    assert own_store.prune() > 0 and not (own_store.directory / "blobs").exists()


def came(path: Path) -> tuple[int, int]:
    """Which file it is, and since when."""
    return path.stat().st_ino, path.stat().st_mtime_ns


def test_a_damaged_layer_is_noticed_and_leaves_nothing(own_store: ImageStore, pushed: str) -> None:
    own_store.get(pushed)
    own_store.remove(pushed)
    blob = max((own_store.directory / "blobs/sha256").iterdir(), key=lambda path: path.stat().st_size)
    blob.write_bytes(blob.read_bytes()[:-2000] + b"\0" * 2000)
    with pytest.raises(ImageError):
        own_store.get(pushed)
    assert own_store.find(pushed) is None and not list((own_store.directory / "building").iterdir())


def test_buildah_builds_where_there_is_no_engine(
    own_store: ImageStore, pushed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if shutil.which("buildah") is None:
        pytest.skip("buildah is not installed")
    (tmp_path / "c").mkdir()
    (tmp_path / "c/hello.txt").write_text("hello\n")
    name = pushed.removeprefix("docker://")
    (tmp_path / "c/Dockerfile").write_text(f"FROM {name}\nUSER root\nRUN echo b > /opt/b\nUSER agent\n")
    conf = tmp_path / "registries.conf"
    conf.write_text(f'[[registry]]\nlocation = "{name.split("/")[0]}"\ninsecure = true\n')
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    monkeypatch.setenv("CONTAINERS_REGISTRIES_CONF", str(conf))
    monkeypatch.setenv("CONTAINERS_STORAGE_CONF", str(storage(tmp_path)))
    assert looked(own_store.get(str(tmp_path / "c"))) == SEEN


def storage(directory: Path) -> Path:
    path = directory / "storage.conf"
    path.write_text(f'[storage]\ndriver = "vfs"\nrunroot = "{directory}/run"\ngraphroot = "{directory}/graph"\n')
    return path


def test_export_and_import_give_the_same_files(own_store: ImageStore, context: Path, tmp_path: Path) -> None:
    own_store.export(str(context), tmp_path / "out.tar")
    loaded = docker("load", "--input", str(tmp_path / "out.tar")).split()[-1]
    said = docker("run", "--rm", "--network", "none", "--entrypoint", "bash", loaded, "-c", LOOK)
    assert said + "\n" == SEEN
    assert looked(own_store.get(f"docker-archive:{tmp_path}/out.tar")) == SEEN


def test_an_image_over_another_stores_only_what_it_adds(
    own_store: ImageStore, base: str, built: str, tmp_path: Path
) -> None:
    own_store.get(f"docker-daemon:{base}")
    own_store.get(f"docker-daemon:{built}")
    own_store.export(f"docker-daemon:{built}", tmp_path / "again.tar")
    own_store.get(f"docker-archive:{tmp_path}/again.tar")
    environment = {**os.environ, "CWM_ENV_CACHE": str(own_store.directory)}
    command = [sys.executable, "-m", "cwm_env", "images", "du", "--json"]
    said = json.loads(subprocess.run(command, check=True, capture_output=True, env=environment).stdout)
    below, over, again = (
        said["images"][name]
        for name in (f"docker-daemon:{base}", f"docker-daemon:{built}", f"docker-archive:{tmp_path}/again.tar")
    )
    assert said["total"] == over["size"] == again["size"] > below["size"] > 100 * (over["size"] - below["size"]) > 0
    assert below["own"] == over["own"] == again["own"] == 0
    own_store.remove(f"docker-archive:{tmp_path}/again.tar")
    each, total = own_store.usage()
    assert each[f"docker-daemon:{built}"] == (total, total - below["size"])
