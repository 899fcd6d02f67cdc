"""``AnyText``: a space that holds every text."""

from __future__ import annotations

import pickle

from hypothesis import given
from hypothesis import strategies as st

from cwm_env.envs import AnyText


@given(st.text())
def test_any_text_is_in_it(text: str) -> None:
    assert text in AnyText()


def test_what_is_not_text_is_not() -> None:
    assert b"x" not in AnyText() and None not in AnyText() and "\udcff" not in AnyText()


def test_samples_follow_the_seed() -> None:
    one, two = AnyText(seed=3), AnyText(seed=3)
    samples = [one.sample() for _ in range(20)]
    assert samples == [two.sample() for _ in range(20)] and len(set(samples)) > 10
    assert all(sample in one for sample in samples)


def test_two_are_equal_and_survive_pickling() -> None:
    assert pickle.loads(pickle.dumps(AnyText())) == AnyText() and AnyText() != "AnyText"
