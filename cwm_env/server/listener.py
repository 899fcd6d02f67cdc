"""Someone who follows a command's output while it runs."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator

from cwm_env.session import Chunk

_MOST_CHUNKS = 256  # that wait for a slow reader before the oldest are dropped for it


class Listener:
    """What a running command prints, for one reader. A slow one loses the oldest, and holds nobody up."""

    def __init__(self) -> None:
        self._chunks: deque[Chunk] = deque(maxlen=_MOST_CHUNKS)
        self._news = asyncio.Event()
        self._over = False
        self.dropped = 0
        """Chunks that were lost since the last that was read."""

    def hear(self, chunk: Chunk | None) -> None:
        """Take in a chunk; None is the end."""
        if chunk is None:
            self._over = True
        else:
            self.dropped += len(self._chunks) == _MOST_CHUNKS
            self._chunks.append(chunk)
        self._news.set()

    async def __aiter__(self) -> AsyncIterator[Chunk]:
        while True:
            while self._chunks:
                yield self._chunks.popleft()
            if self._over:
                return
            self._news.clear()
            await self._news.wait()
