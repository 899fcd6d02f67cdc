"""Pulls over connections that break, and of many images at once."""

from __future__ import annotations

import hashlib
import io
import json
import os
import random
import secrets
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
import requests

from cwm_env.errors import ImageError
from cwm_env.images import ImageStore
from cwm_env.images.distribution import Login, place_of
from tests.docker.asking import asking
from tests.docker.conftest import docker
from tests.docker.cutting import cutting

MB = 1 << 20
SIZE = 6 * MB
NOISE = random.Random(6).randbytes(SIZE)


@pytest.fixture
def own_store(tmp_path: Path) -> ImageStore:
    """An empty cache."""
    return ImageStore(tmp_path / "cache")


@pytest.fixture(scope="module")
def noisy(registry: str) -> str:
    """An image in the registry, of one layer that cannot be compressed; its name there."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        member = tarfile.TarInfo("noise")
        member.size = SIZE
        tar.addfile(member, io.BytesIO(NOISE))
    name = f"{registry}/t/noisy:1"
    subprocess.run(["docker", "import", "-", name], input=archive.getvalue(), check=True, capture_output=True)
    docker("push", "--quiet", name)
    return "t/noisy:1"


def blob_of(registry: str, name: str) -> bytes:
    """The image's layer as the registry holds it."""
    base = f"http://{registry}/v2/{name.partition(':')[0]}"
    kind = {"Accept": "application/vnd.docker.distribution.manifest.v2+json"}
    manifest = requests.get(f"{base}/manifests/1", headers=kind, timeout=10).json()
    return requests.get(f"{base}/blobs/{manifest['layers'][0]['digest']}", timeout=10).content


def test_a_layer_goes_on_where_its_connection_broke(own_store: ImageStore, registry: str, noisy: str) -> None:
    with cutting(registry, after=MB) as proxy:  # no connection lives long enough for the whole
        image = own_store.get(f"docker://{proxy.address}/{noisy}")
        assert proxy.cuts >= 5
        assert proxy.passed < SIZE + MB, "parts of it came twice"
    assert (image.layers[0] / "noise").read_bytes() == NOISE


@pytest.mark.parametrize("right", [True, False], ids=["right", "damaged"])
def test_what_a_killed_pull_left_is_gone_on_with_if_its_digest_comes_right(
    own_store: ImageStore, registry: str, noisy: str, right: bool
) -> None:
    blob = blob_of(registry, noisy)
    part = own_store.directory / "blobs/parts" / hashlib.sha256(blob).hexdigest()
    part.parent.mkdir(parents=True)
    part.write_bytes(blob[: 4 * MB] if right else bytes(4 * MB))
    with cutting(registry, after=100 * MB) as proxy:
        image = own_store.get(f"docker://{proxy.address}/{noisy}")
        assert (proxy.passed < SIZE - 3 * MB) is right
    assert (image.layers[0] / "noise").read_bytes() == NOISE
    assert not part.exists()


def test_a_registry_that_hands_out_tokens_is_asked_with_a_password(
    own_store: ImageStore, registry: str, noisy: str
) -> None:
    with asking(registry) as private:
        name = f"docker://{private.address}/{noisy}"
        for login in (None, Login("somebody", "wrong")):
            with pytest.raises(ImageError, match="could not be fetched"):
                own_store.fetch(name, login=login)
        assert not private.asked
        image = own_store.fetch(name, login=Login("somebody", "secret"))
        blobs = [program for path, status, program in private.asked if "/blobs/" in path and status == 200]
        assert sum(program.startswith("python-requests") for program in blobs) == 1, "skopeo fetched the layer"
    assert (image.layers[0] / "noise").read_bytes() == NOISE


def test_many_are_pulled_at_once_and_a_second_run_fetches_what_failed(
    tmp_path: Path, registry: str, noisy: str
) -> None:
    repository = f"{registry}/t/many-{secrets.token_hex(4)}"  # whose last tags are not there yet
    names = [f"docker://{repository}:{number}" for number in range(8)]
    for name in names[:6]:
        docker("tag", f"{registry}/{noisy}", name.removeprefix("docker://"))
        docker("push", "--quiet", name.removeprefix("docker://"))
    listed = tmp_path / "images.txt"
    listed.write_text("# all of them\n" + "\n".join(names))
    environment = {**os.environ, "CWM_ENV_CACHE": str(tmp_path / "cache")}

    def pull() -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "cwm_env", "images", "pull", "--from", str(listed), "--parallel", "4"]
        return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)

    first = pull()
    assert first.returncode == 3, first.stderr
    assert sorted(line.split()[0] for line in first.stdout.splitlines()) == names[:6]
    report = first.stderr[first.stderr.index("6 of 8 images are here") :]
    assert all(name in report for name in names[6:]) and not any(name in report for name in names[:6])
    for name in names[6:]:
        docker("tag", f"{registry}/{noisy}", name.removeprefix("docker://"))
        docker("push", "--quiet", name.removeprefix("docker://"))
    second = pull()
    assert second.returncode == 0 and len(second.stdout.splitlines()) == 8, second.stderr
    du = subprocess.run(
        [sys.executable, "-m", "cwm_env", "images", "du", "--json"], capture_output=True, env=environment, check=True
    )
    said = json.loads(du.stdout)
    assert len(said["images"]) == 8 and {image["size"] for image in said["images"].values()} == {said["total"]}


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("docker://python", ("registry-1.docker.io", "library/python")),
        ("docker://python:3.12", ("registry-1.docker.io", "library/python")),
        ("docker://docker.io/a/b:1", ("registry-1.docker.io", "a/b")),
        ("docker://localhost:5000/a/b/c:1@sha256:00", ("localhost:5000", "a/b/c")),
        ("docker://example.org/a@sha256:00", ("example.org", "a")),
    ],
)
def test_a_name_says_where_its_layers_lie(name: str, place: tuple[str, str]) -> None:
    assert place_of(name) == place
