"""One thread that moves bytes between the containers' streams and the local descriptors of their processes.

A caller gets real descriptors for each process, to poll and to read, as everywhere in this package. Behind them, all
processes of one container share its attach stream (``channel.py``).
"""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Callable

Handler = Callable[[int], None]
"""Called in the pump's thread, under its lock, with the events that ``epoll`` reported."""


class Pump:
    """Watches descriptors, and calls who waits for them. Thread-safe; its thread starts with the first descriptor."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        """Held while a handler runs; whoever touches what handlers touch holds it, too."""
        self._epoll = select.epoll()
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._epoll.register(self._wake, select.EPOLLIN)
        self._handlers: dict[int, Handler] = {}
        self._thread: threading.Thread | None = None
        self._closed = False

    def watch(self, descriptor: int, events: int, handler: Handler) -> None:
        """Call ``handler`` when one of ``events`` happens, or the other end is gone (``EPOLLERR``, ``EPOLLHUP``)."""
        with self.lock:
            self._handlers[descriptor] = handler
            self._epoll.register(descriptor, events)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="cwm-env docker", daemon=True)
                self._thread.start()

    def change(self, descriptor: int, events: int) -> None:
        """Wait for other events."""
        self._epoll.modify(descriptor, events)

    def forget(self, descriptor: int) -> None:
        """Watch it no more; to be called before it is closed. Nothing if it is not watched."""
        with self.lock:
            if self._handlers.pop(descriptor, None) is not None:
                self._epoll.unregister(descriptor)

    def close(self) -> None:
        """End the thread. Idempotent."""
        with self.lock:
            if self._closed:
                return
            self._closed = True
            os.eventfd_write(self._wake, 1)
        if self._thread is not None:
            self._thread.join()
        self._epoll.close()
        os.close(self._wake)

    def _run(self) -> None:
        while True:
            ready = self._epoll.poll()
            with self.lock:
                if self._closed:
                    return
                for descriptor, events in ready:
                    handler = self._handlers.get(descriptor)
                    if handler is not None:  # one that was called before may have forgotten this one
                        handler(events)
