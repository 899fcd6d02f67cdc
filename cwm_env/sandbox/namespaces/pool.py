"""Sandboxes that were made before they are asked for."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

from cwm_env.errors import InfrastructureError
from cwm_env.sandbox.namespaces.sandbox import NamespaceSandbox

_PAUSE_SECONDS = 1.0


class WarmPool:
    """Keeps a number of sandboxes of one kind ready. Thread-safe."""

    def __init__(self, make: Callable[[], NamespaceSandbox], size: int, rate: float) -> None:
        """Begin to fill it.

        Args:
            make: makes one.
            size: how many are kept ready.
            rate: how many are made a second, at most: what filling takes is taken from those at work.
        """
        self._make = make
        self._size = size
        self._interval = 1 / rate
        self._ready: deque[NamespaceSandbox] = deque()
        self._changed = threading.Condition()
        self._open = True
        self._thread = threading.Thread(target=self._fill, name="cwm-env warm pool", daemon=True)
        self._thread.start()

    def __len__(self) -> int:
        """How many are ready."""
        return len(self._ready)

    def take(self) -> NamespaceSandbox | None:
        """One that is ready and alive, or None."""
        with self._changed:
            self._changed.notify()
            while self._ready:
                made = self._ready.popleft()
                if made.alive:
                    return made
                made.close()
        return None

    def close(self) -> None:
        """End those that nobody took."""
        with self._changed:
            self._open = False
            self._changed.notify()
        self._thread.join()
        while self._ready:
            self._ready.popleft().close()

    def _fill(self) -> None:
        while True:
            with self._changed:
                while self._open and len(self._ready) >= self._size:
                    self._changed.wait()
                if not self._open:
                    return
            started = time.monotonic()
            try:
                self._ready.append(self._make())
                pause = self._interval - (time.monotonic() - started)
            except InfrastructureError:
                pause = _PAUSE_SECONDS  # whoever asks for a sandbox meanwhile makes one directly, and gets the error
            with self._changed:
                if self._open and pause > 0:
                    self._changed.wait_for(lambda: not self._open, pause)
