"""Base ``debian:bookworm``: one real build, and what is said where none is possible."""

from __future__ import annotations

import os
import shutil

import pytest

from cwm_env.errors import ImageError
from cwm_env.images import ImageStore, debian
from tests.images.conftest import Inside, Write, text

can_build = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("mmdebstrap") is None,
    reason="needs root and mmdebstrap (apt-get install mmdebstrap)",
)


@can_build
def test_a_debian_is_independent_of_the_machine(store: ImageStore, inside: Inside) -> None:
    image = store.get("bookworm")
    assert image.host_mounts == image.hidden == ()
    look = """
python -m pytest --version; python --version | cut -d. -f1,2; git status --porcelain; git log --oneline | wc -l
. /etc/os-release && echo $VERSION_CODENAME; cat /etc/hostname /etc/resolv.conf; id -u agent; find /dev -type b
python -m venv /tmp/venv && /tmp/venv/bin/pip --version | cut -d' ' -f1
"""
    assert text(inside(image, look, "65534:65534")).splitlines() == [
        "pytest 8.4.2",
        f"Python {debian.PYTHON_VERSION}",
        "1",
        "bookworm",
        "sandbox",
        "1000",
        "pip",
    ]
    assert list((image.layers[0] / "dev").iterdir()) == []
    assert text(inside(image, "stat -c %U /etc/passwd /home/agent")).split() == ["root", "agent"]


def test_without_mmdebstrap_it_says_what_to_install(
    store: ImageStore, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(ImageError, match="needs mmdebstrap: run `apt-get install mmdebstrap`"):
        store.get(write('base = "debian:bookworm"\ndebian = ["cowsay"]'))
