"""A Gymnasium space of any text."""

from __future__ import annotations

from typing import Any

import gymnasium

_SAMPLED = "abcdefghijklmnopqrstuvwxyz0123456789 \t\n./-_=+*?!$#&|;:<>(){}[]'\"`~%^@,\\äß漢字🙂"


class AnyText(gymnasium.Space[str]):
    """Every string that UTF-8 can carry, of any length; ``gymnasium.spaces.Text`` admits a finite alphabet only."""

    def __init__(self, *, longest_sample: int = 64, seed: int | None = None) -> None:
        """Samples hold up to ``longest_sample`` characters; the space itself has no bound."""
        super().__init__(dtype=str, seed=seed)
        self.longest_sample = longest_sample

    def sample(self, mask: None = None, probability: None = None) -> str:
        """Random text, reproducible by ``seed``; as a bash command it is mostly nonsense, on purpose."""
        length = int(self.np_random.integers(0, self.longest_sample + 1))
        return "".join(_SAMPLED[i] for i in self.np_random.integers(0, len(_SAMPLED), size=length))

    def contains(self, x: Any) -> bool:
        """Whether ``x`` is text without lone surrogates."""
        if not isinstance(x, str):
            return False
        try:
            x.encode()
        except UnicodeEncodeError:
            return False
        return True

    @property
    def is_np_flattenable(self) -> bool:
        """False: text of any length has no fixed array."""
        return False

    def __eq__(self, other: object) -> bool:
        """Any two such spaces hold the same texts."""
        return isinstance(other, AnyText)

    def __hash__(self) -> int:
        return hash(AnyText)

    def __repr__(self) -> str:
        return "AnyText()"
