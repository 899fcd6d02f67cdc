"""Where the package's data lies, and where it keeps its own.

``images/``, ``tasks/`` and ``server/`` stand beside the package in a checkout, and inside it (``_data/``)
once installed from a wheel.
"""

from __future__ import annotations

import os
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def data_dir(name: str) -> Path:
    """The directory ``name`` (``images``, ``tasks``, ``server``) of the checkout or of the installed package."""
    installed = _PACKAGE / "_data" / name
    return installed if installed.is_dir() else _PACKAGE.parent / name


def cache_dir() -> Path:
    """Where images are kept: ``$CWM_ENV_CACHE``, else ``$XDG_CACHE_HOME/cwm-env``, else ``~/.cache/cwm-env``."""
    if own := os.environ.get("CWM_ENV_CACHE"):
        return Path(own).absolute()
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base).absolute() / "cwm-env"
