"""Near-duplicates: traces of which most runs of three frames are also in another one."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

_FRAMES = re.compile(r"<\|frame_sep\|>")
_PERMUTATIONS = 64


class NearDuplicates:
    """Remembers texts by MinHash and finds those that resemble an earlier one."""

    def __init__(self, similarity: float = 0.8) -> None:
        """``similarity`` is the Jaccard index, over runs of three frames, from which on a text is dropped (0..1)."""
        from datasketch import MinHashLSH

        self.similarity = similarity
        self._index = MinHashLSH(threshold=similarity, num_perm=_PERMUTATIONS)
        self._sketches: dict[str, Any] = {}

    def seen(self, text: str) -> bool:
        """Whether a text resembles one that was seen before; if not, it is remembered."""
        sketch = _sketch(text)
        near = (self._sketches[key] for key in self._index.query(sketch))  # the index itself only guesses
        if any(sketch.jaccard(other) >= self.similarity for other in near):
            return True
        key = str(len(self._sketches))
        self._index.insert(key, sketch)
        self._sketches[key] = sketch
        return False


def _sketch(text: str) -> Any:
    from datasketch import MinHash

    sketch = MinHash(num_perm=_PERMUTATIONS)
    sketch.update_batch([part.encode("utf-8", "surrogatepass") for part in shingles(text)])
    return sketch


def shingles(text: str) -> Iterable[str]:
    """Runs of three frames, and the context by lines: what two traces can have in common."""
    context, *frames = _FRAMES.split(text)
    yield from set(context.splitlines())
    yield from {"".join(frames[i : i + 3]) for i in range(max(len(frames) - 2, 1))}
