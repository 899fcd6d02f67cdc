"""Build hook: puts data and the sandbox's native program into the wheel, which is then for one architecture.

``CWM_ENV_MACHINE`` (``x86_64`` or ``aarch64``) builds for another architecture than this machine's.
"""

from __future__ import annotations

import importlib.util
import os
import tempfile
from pathlib import Path
from types import ModuleType
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

_NATIVE = Path("cwm_env", "sandbox", "namespaces", "native", "build.py")
_TAG = "py3-none-manylinux2014_{machine}.musllinux_1_1_{machine}"
"""A static program asks nothing of the C library."""


_DATA = ("images", "tasks", "server")


class WheelContents(BuildHookInterface):  # type: ignore[type-arg]
    """Adds what is not Python. An editable install finds data in the checkout; it builds the program on first use."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile, and say what the wheel holds and is for."""
        if version == "editable":
            return
        for name in _DATA:
            if (Path(self.root) / name).is_dir():
                build_data["force_include"][str(Path(self.root) / name)] = f"cwm_env/_data/{name}"
        native = _load(Path(self.root) / _NATIVE)
        machine = os.environ.get("CWM_ENV_MACHINE") or os.uname().machine
        program = Path(tempfile.mkdtemp()) / native.NAME
        native.build(program, machine, portable=True)
        build_data["pure_python"] = False
        build_data["tag"] = _TAG.format(machine=machine)
        build_data["force_include"][str(program)] = str(_NATIVE.parent.parent / native.NAME)


def _load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("native_build", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
