"""Base ``debian:bookworm``: a minimal Debian made by mmdebstrap, from the archive that the machine itself is set to use."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

ALWAYS = ("bash", "git")
PYTHON_PACKAGES = ("python3", "python3-venv")
PYTHON_VERSION = "3.11"
INTERPRETER = "/usr/bin/python3"


def build(target: Path, packages: tuple[str, ...], progress: Callable[[str], None]) -> None:
    """Write the lowest layer into the empty directory ``target``."""
    raise NotImplementedError
