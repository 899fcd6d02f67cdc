"""Bearer tokens: who may use a server. On the disk there are digests only.

A token is ``cwm_ID_SECRET``. The id is no secret: it finds the record, and names the tenant in logs and journals. The
secret has 256 random bits, so that one round of SHA-256 is enough.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import hmac
import json
import os
import secrets
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from cwm_env.errors import InputError

OPERATOR = "operator"
_LOOK_SECONDS = 1.0
_NOBODY = hashlib.sha256(b"").hexdigest()


@dataclass(frozen=True, slots=True)
class Token:
    """What is kept of a token."""

    id: str
    name: str
    """What its maker calls it."""
    sha256: str
    """Of the secret, in hexadecimal."""
    created: str
    """UTC, ISO 8601."""
    operator: bool = False
    """Whether it may read the metrics."""
    revoked: bool = False


class TokenFile:
    """The tokens of a state directory. Changes by other processes are seen within a second."""

    def __init__(self, state: Path) -> None:
        self._path = state / "tokens.json"
        self._seen: tuple[int, int] | None = None
        self._looked = 0.0
        self._tokens: dict[str, Token] = {}

    def all(self) -> list[Token]:
        """All, in the order in which they were made.

        Raises:
            InputError: the file cannot be read.
        """
        try:
            return [Token(**row) for row in json.loads(self._path.read_text())]
        except FileNotFoundError:
            return []
        except (OSError, ValueError, TypeError) as error:
            raise InputError(f"{self._path}: cannot be read: {error}") from None

    def create(self, name: str, *, operator: bool = False) -> str:
        """Make a token; it is returned once, and kept nowhere.

        Raises:
            InputError: the file cannot be written.
        """
        token_id, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
        digest = hashlib.sha256(secret.encode()).hexdigest()
        made = Token(token_id, name, digest, datetime.now(UTC).isoformat(timespec="seconds"), operator)
        with self._changing():
            self._write([*self.all(), made])
        return f"cwm_{token_id}_{secret}"

    def revoke(self, token_id: str) -> None:
        """Make a token worthless.

        Raises:
            InputError: there is no such token, or the file cannot be written.
        """
        with self._changing():
            found = self.all()
            if token_id not in [token.id for token in found]:
                raise InputError(f"there is no token {token_id!r}: `cwm-env tokens list` shows all")
            self._write([replace(token, revoked=True) if token.id == token_id else token for token in found])

    def check(self, presented: str) -> Token | None:
        """The token that was presented, if it is one and not revoked. Takes as long for a wrong secret as for none."""
        self._look()
        _, _, rest = presented.partition("_")
        token_id, _, secret = rest.partition("_")
        token = self._tokens.get(token_id)
        digest = hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()
        same = hmac.compare_digest(digest, token.sha256 if token else _NOBODY)
        return token if token and same and not token.revoked else None

    def _look(self) -> None:
        now = time.monotonic()
        if now - self._looked < _LOOK_SECONDS:
            return
        self._looked = now
        try:
            status = self._path.stat()
            seen = (status.st_mtime_ns, status.st_ino)
        except OSError:
            seen = None
        if seen != self._seen:
            self._tokens = {token.id: token for token in self.all()}
            self._seen = seen

    @contextlib.contextmanager
    def _changing(self) -> Iterator[None]:
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(self._path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                yield
            finally:
                os.close(descriptor)
        except OSError as error:
            raise InputError(f"{self._path}: cannot be written: {error.strerror}") from None

    def _write(self, tokens: list[Token]) -> None:
        new = self._path.with_suffix(".new")
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            json.dump([asdict(token) for token in tokens], file, indent=1)
            file.flush()
            os.fsync(descriptor)
        new.rename(self._path)
