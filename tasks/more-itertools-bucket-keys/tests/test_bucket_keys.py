"""The keys of a bucket are those of the items, whatever it was asked for."""

from itertools import count, islice, permutations

import pytest
from more_itertools import bucket

ITEMS = ["a1", "b1", "c1", "a2", "b2", "b3"]


def first(item):
    return item[0]


def new(validator=None):
    return bucket(iter(ITEMS), key=first, validator=validator)


ASK = {
    "in": lambda s, key: key in s,
    "list": lambda s, key: bool(list(s[key])),
    "next": lambda s, key: next(s[key], None) is not None,
    "for": lambda s, key: any(True for _ in s[key]),
    "twice": lambda s, key: (key in s) or bool(list(s[key])),
    "not_started": lambda s, key: s[key] is None,
}


@pytest.mark.parametrize("ask", ASK.values(), ids=ASK.keys())
@pytest.mark.parametrize("missing", ["z", "", None, 0, ("a",)], ids=repr)
def test_a_missing_key_does_not_become_a_key(ask, missing):
    s = new()
    assert not ask(s, missing)
    assert sorted(s) == ["a", "b", "c"]
    assert not ask(s, missing)
    assert sorted(s) == ["a", "b", "c"]


@pytest.mark.parametrize("ask", ASK.values(), ids=ASK.keys())
def test_a_missing_key_may_be_asked_for_while_going_through_the_keys(ask):
    s, seen = new(), []
    for key in s:
        assert not ask(s, "z" + key)
        seen.append(key)
    assert sorted(seen) == ["a", "b", "c"]


@pytest.mark.parametrize("ask", ASK.values(), ids=ASK.keys())
def test_missing_keys_take_no_items(ask):
    s = new()
    ask(s, "z")
    assert {key: list(s[key]) for key in s} == {"a": ["a1", "a2"], "b": ["b1", "b2", "b3"], "c": ["c1"]}


def test_an_empty_iterable_has_no_keys():
    s = bucket([], key=first)
    assert "a" not in s
    assert list(s["a"]) == []
    assert list(s) == []


def test_a_validator_that_lets_a_missing_key_pass():
    s = new(validator=lambda key: key in "abz")
    assert "z" not in s
    assert "c" not in s
    assert list(s["z"]) == list(s["c"]) == []
    assert sorted(s) == ["a", "b"]


@pytest.mark.parametrize("order", list(permutations("abc")), ids="".join)
def test_keys_whose_items_were_all_taken_stay_keys(order):
    s = new()
    taken = [item for key in order for item in s[key]]
    assert sorted(taken) == sorted(ITEMS)
    assert sorted(s) == ["a", "b", "c"]
    assert [key for key in order if key in s] == []
    assert sorted(s) == ["a", "b", "c"]


@pytest.mark.parametrize("key", "abc")
def test_a_key_stays_when_its_only_item_so_far_was_taken_straight_from_the_iterable(key):
    s = new()
    assert next(s[key]) == f"{key}1"
    assert sorted(s) == ["a", "b", "c"]


@pytest.mark.parametrize("key", "abc")
def test_a_key_stays_when_its_items_were_taken_from_the_cache(key):
    s = new()
    assert "z" not in s
    assert list(s[key]) == [item for item in ITEMS if item[0] == key]
    assert list(s[key]) == []
    assert sorted(s) == ["a", "b", "c"]


@pytest.mark.parametrize("key", "abc")
def test_asking_takes_no_item_away(key):
    s = new()
    assert [key in s, "z" in s, key in s] == [True, False, True]
    assert list(s[key]) == [item for item in ITEMS if item[0] == key]
    assert key not in s


def test_two_readers_of_one_bucket_share_its_items():
    s = new()
    one, other = s["b"], s["b"]
    assert [next(one), next(other), next(one)] == ["b1", "b2", "b3"]
    assert [next(one, None), next(other, None)] == [None, None]
    assert sorted(s) == ["a", "b", "c"]


def test_a_reader_made_before_the_first_item_is_found():
    items = []
    s = bucket(iter(items), key=first)
    reader = s["a"]
    items.append("a1")
    assert list(reader) == ["a1"]
    assert list(s) == ["a"]


def test_falsy_keys_are_keys():
    s = bucket([0, 1, None, "", 0], key=lambda item: item)
    assert 2 not in s
    assert list(s[0]) == [0, 0]
    assert set(s) == {0, 1, None, ""}


def test_an_endless_iterable_is_read_no_further_than_needed():
    numbers = count()
    s = bucket(numbers, key=lambda n: n % 3)
    assert 2 in s
    assert next(numbers) == 3
    assert list(islice(s[0], 2)) == [0, 6]
    assert list(islice(s[2], 2)) == [2, 5]
