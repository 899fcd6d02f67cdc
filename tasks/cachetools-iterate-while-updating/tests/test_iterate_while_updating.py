"""A loop over a cache with time gives each key that is still there once, whatever the loop's body does."""

import copy
import itertools

import pytest
from cachetools import TLRUCache, TTLCache

LIFE = 10


class Clock:
    """A timer that a test sets."""

    def __init__(self):
        self.now = 0

    def __call__(self):
        return self.now


class Ticking:
    """A timer that moves on each time it is asked."""

    def __init__(self):
        self.now = 0

    def __call__(self):
        self.now += 1
        return self.now


def ttl(timer, maxsize):
    return TTLCache(maxsize, LIFE, timer=timer)


def tlru(timer, maxsize):
    return TLRUCache(maxsize, lambda key, value, now: now + LIFE, timer=timer)


@pytest.fixture(params=[ttl, tlru])
def make(request):
    def make(keys="abc", timer=None, maxsize=100):
        cache = request.param(timer or Clock(), maxsize)
        for number, key in enumerate(keys):
            cache[key] = number
        return cache

    return make


def at_most(iterator, limit=1000):
    """Fail, rather than hang, where an iteration does not end."""
    for number, item in enumerate(iterator):
        assert number < limit, "the iteration does not end"
        yield item


def keys_by_value(timer=None):
    """A TLRUCache whose values say how long they live."""
    return TLRUCache(100, lambda key, value, now: now + value, timer=timer or Clock())


def visited(cache, body):
    seen = []
    for key in at_most(cache):
        seen.append(key)
        body(key)
    assert len(set(seen)) == len(seen), f"given twice: {seen}"
    return sorted(seen)


def visited_if_first(cache, change):
    """What is visited where ``change(first, others)`` happens in the first step, and the keys as they were."""
    order = list(cache)
    done = []

    def body(key):
        if not done:
            done.append(key)
            change(key, [other for other in order if other != key])

    return visited(cache, body), order


@pytest.mark.parametrize("count", [1, 2, 3, 4, 7, 31])
def test_updating_each_key_visits_each_key_once(make, count):
    cache = make(range(count))
    assert visited(cache, lambda key: cache.update({key: key * 10})) == list(range(count))
    assert dict(cache) == {key: key * 10 for key in range(count)}


@pytest.mark.parametrize("other", "abcde")
def test_updating_one_key_all_the_time_visits_each_key_once(make, other):
    cache = make("abcde")
    assert visited(cache, lambda key: cache.update({other: key})) == list("abcde")


def test_updating_all_keys_in_each_step_visits_each_key_once(make):
    cache = make("abcde")
    assert visited(cache, lambda key: cache.update(dict.fromkeys("ecadb", key))) == list("abcde")


def test_updating_while_time_passes_visits_each_key_once(make):
    clock = Clock()
    cache = make("abcde", clock)

    def body(key):
        cache[key] = "new"
        clock.now += 1

    assert visited(cache, body) == list("abcde")
    assert set(cache.values()) == {"new"}


def test_items_can_be_updated(make):
    cache = make("abcde")
    for key, value in at_most(cache.items()):
        cache[key] = value + 100
    assert dict(cache) == {"a": 100, "b": 101, "c": 102, "d": 103, "e": 104}


def test_values_can_be_updated(make):
    cache = make("abcde")
    seen = []
    for value in at_most(cache.values()):
        seen.append(value)
        cache["abcde"[value]] = value
    assert sorted(seen) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("how", ["__delitem__", "pop"])
@pytest.mark.parametrize("position", range(4))
def test_a_deleted_key_is_not_visited(make, position, how):
    cache = make("abcde")
    seen, order = visited_if_first(cache, lambda first, others: getattr(cache, how)(others[position]))
    assert len(seen) == 4
    assert set(order) - set(seen) == set(order) - set(cache)


def test_a_key_deleted_and_set_again_is_visited_once(make):
    cache = make("abcde")

    def body(key):
        del cache["c"]
        cache["c"] = 7

    assert visited(cache, body) == list("abcde")


def test_the_key_just_given_can_be_deleted(make):
    cache = make("abcde")
    assert visited(cache, cache.pop) == list("abcde")
    assert len(cache) == 0


def test_nothing_is_visited_after_clear(make):
    cache = make("abcde")
    first = next(iter(cache))
    assert visited(cache, lambda key: cache.clear()) == [first]


def test_nothing_but_updates_after_clear_is_visited(make):
    cache = make("abcde")

    def change(first, others):
        cache.clear()
        cache[others[2]] = 1

    seen, order = visited_if_first(cache, change)
    assert len(seen) == 2
    assert set(cache) < set(seen)


def test_an_evicted_key_is_not_visited(make):
    cache = make("abcd", maxsize=4)
    seen, order = visited_if_first(cache, lambda first, others: cache.update(x=1, y=2))
    assert set(cache) == {"c", "d", "x", "y"}
    assert set(seen) - {"x", "y"} == {order[0], "c", "d"}


def test_adding_keys_in_each_step_ends(make):
    cache = make("abc", maxsize=10000)
    numbers = itertools.count()
    seen = []
    for key in at_most(cache):
        seen.append(key)
        cache[next(numbers)] = 0
    assert {"a", "b", "c"} <= set(seen)
    assert len(set(seen)) == len(seen)


def test_a_key_that_expires_meanwhile_is_not_visited():
    clock = Clock()
    cache = keys_by_value(clock)
    cache.update(a=20, b=5, c=20, d=5, e=20)
    seen, order = visited_if_first(cache, lambda first, others: setattr(clock, "now", 6))
    assert seen == sorted({order[0], "a", "c", "e"})


def test_all_keys_may_expire_meanwhile(make):
    clock = Clock()
    cache = make("abc", clock)
    first = next(iter(cache))
    assert visited(cache, lambda key: setattr(clock, "now", LIFE)) == [first]


@pytest.mark.parametrize("position", range(3))
def test_a_prolonged_key_is_visited(make, position):
    clock = Clock()
    cache = make("abcd", clock)
    clock.now = LIFE - 1

    def change(first, others):
        cache[others[position]] = 9
        clock.now += 1

    seen, order = visited_if_first(cache, change)
    assert list(cache.values()) == [9]
    assert seen == sorted({order[0], *cache})


@pytest.mark.parametrize("life", [0, 1])
@pytest.mark.parametrize("position", range(3))
def test_a_shortened_key_is_not_visited_once_it_expired(position, life):
    clock = Clock()
    cache = keys_by_value(clock)
    cache.update(a=50, b=50, c=50, d=50)

    def change(first, others):
        cache[others[position]] = life
        clock.now = 2

    seen, order = visited_if_first(cache, change)
    assert seen == sorted(cache)
    assert len(seen) == 3


@pytest.mark.parametrize("factor", [-1, 1, 3])
def test_lifetimes_may_change_in_each_step(factor):
    cache = keys_by_value()
    cache.update({key: 1000 + key for key in range(20)})
    assert visited(cache, lambda key: cache.update({key: 2000 + factor * key})) == list(range(20))


def test_updating_over_and_over_before_the_next_step_visits_each_key_once():
    # the cache puts its books in order when many items were replaced
    cache = keys_by_value()
    cache.update({key: 1000 + key for key in range(10)})

    def body(key):
        for number in range(50):
            cache[number % 10] = 2000 - number

    assert visited(cache, body) == list(range(10))


def test_expired_keys_are_not_visited(make):
    clock = Clock()
    cache = make("abc", clock)
    clock.now = LIFE - 1
    cache["d"] = 3
    clock.now = LIFE
    assert list(cache) == ["d"]
    assert list(cache.items()) == [("d", 3)]


def test_reading_the_key_just_given_never_fails():
    cache = keys_by_value(Ticking())
    cache.update({key: 40 for key in range(8)})
    for key in at_most(cache):
        for _ in range(50):
            assert cache[key] == 40


def test_items_are_read_at_the_time_of_their_step():
    cache = keys_by_value(Ticking())
    cache.update({key: 30 for key in range(20)})
    assert all(value == 30 for _, value in at_most(cache.items()))


def test_time_goes_on_between_steps(make):
    clock = Clock()
    cache = make("abc", clock)
    steps = iter(cache)
    next(steps)
    clock.now = 3
    assert cache.timer() == 0
    next(steps)
    assert cache.timer() == 3


@pytest.mark.parametrize("updates", [False, True])
def test_leaving_the_loop_sets_time_going_again(make, updates):
    clock = Clock()
    cache = make("abc", clock)
    steps = iter(cache)
    key = next(steps)
    if updates:
        cache[key] = 5
    steps.close()
    clock.now = LIFE
    assert cache.timer() == LIFE
    assert list(cache) == []
    assert len(cache) == 0


def test_iterating_is_no_use(make):
    cache = make("abcd", maxsize=4)
    assert (cache["a"], cache["c"]) == (0, 2)
    assert sorted(at_most(cache)) == list("abcd")
    assert [cache.popitem()[0] for _ in range(4)] == ["b", "d", "a", "c"]


def test_two_iterations_do_not_disturb_each_other(make):
    cache = make("abcd")
    pairs = []
    for one in at_most(cache):
        for two in at_most(cache):
            pairs.append((one, two))
            cache[two] = one
    assert sorted(pairs) == list(itertools.product("abcd", repeat=2))


def test_a_key_may_be_none_or_false(make):
    cache = make([None, 0, "", ()])
    seen = []
    for key in at_most(cache):
        seen.append(key)
        cache[key] = 1
    assert sorted(map(repr, seen)) == sorted(map(repr, [None, 0, "", ()]))


def test_an_empty_cache_gives_nothing(make):
    assert list(make("")) == []


def test_a_copy_can_be_updated_while_iterating(make):
    cache = make("abcd")
    for other in (copy.copy(cache), copy.deepcopy(cache)):
        assert visited(other, lambda key, other=other: other.update({key: 9})) == list("abcd")
    assert dict(cache) == {"a": 0, "b": 1, "c": 2, "d": 3}
