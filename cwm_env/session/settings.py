"""What a session is told when it is made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Settings:
    """As the arguments of ``BashSession``."""

    env: Mapping[str, str] | None = None
    cwd: str = "/"
    user: str = "root"
    command_timeout: float = 120.0
    output_limit: int = 64 << 10
    output_file_limit: int = 16 << 20
    flag_file: str | None = None
