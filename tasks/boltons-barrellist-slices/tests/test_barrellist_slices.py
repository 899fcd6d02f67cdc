"""Every slice of a BarrelList, read or deleted, is that of a list, however many pieces it is kept in."""

import itertools

import pytest
from boltons.listutils import BarrelList


class InManyPieces(BarrelList):
    """The same list with a tiny size factor, so that a few items already make several pieces."""

    _size_factor = 1


def in_many_pieces(length):
    barrel = InManyPieces()
    for item in reversed(range(length)):
        barrel.insert(0, item)
    return barrel


def large():
    """A list of the usual size factor that has several pieces, and its items."""
    barrel = BarrelList(range(60000))
    barrel.pop(30000)
    return barrel, [*range(30000), *range(30001, 60000)]


LENGTHS = [0, 1, 2, 9, 23]
STEPS = [None, 1, 2, 3, 7, 100, -1, -2, -3, -7, -100]


def bounds(length):
    near = {-length - 5, -length - 1, -length, -length + 1, -7, -2, -1, 0, 1, 4, length // 2}
    return [None, *sorted(near | {length - 1, length, length + 1, length + 5})]


def cases():
    return [(length, step) for length in LENGTHS for step in STEPS]


@pytest.mark.parametrize(("length", "step"), cases())
def test_reading_a_slice_gives_what_a_list_gives(length, step):
    expected, barrel = list(range(length)), in_many_pieces(length)
    for start, stop in itertools.product(bounds(length), repeat=2):
        part = barrel[start:stop:step]
        assert isinstance(part, BarrelList)
        assert list(part) == expected[start:stop:step], (start, stop)
        assert list(barrel.iter_slice(start, stop, step)) == expected[start:stop:step], (start, stop)
    assert list(barrel) == expected


@pytest.mark.parametrize(("length", "step"), cases())
def test_deleting_a_slice_leaves_what_it_leaves_of_a_list(length, step):
    for start, stop in itertools.product(bounds(length), repeat=2):
        expected, barrel = list(range(length)), in_many_pieces(length)
        del barrel[start:stop:step]
        del expected[start:stop:step]
        assert list(barrel) == expected, (start, stop)
        assert len(barrel) == len(expected)
        assert [barrel[i] for i in range(len(expected))] == expected


@pytest.mark.parametrize(("length", "step"), cases())
def test_a_list_can_be_popped_to_its_end_after_a_deletion(length, step):
    for start, stop in itertools.product(bounds(length), repeat=2):
        expected, barrel = list(range(length)), in_many_pieces(length)
        del barrel[start:stop:step]
        del expected[start:stop:step]
        assert [barrel.pop() for _ in expected] == expected[::-1], (start, stop)
        with pytest.raises(IndexError):
            barrel.pop()


@pytest.mark.parametrize(("length", "step"), cases())
def test_a_list_can_be_appended_to_after_a_deletion(length, step):
    for start, stop in itertools.product(bounds(length), repeat=2):
        expected, barrel = list(range(length)), in_many_pieces(length)
        del barrel[start:stop:step]
        del expected[start:stop:step]
        barrel.append("last")
        barrel.insert(0, "first")
        assert list(barrel) == ["first", *expected, "last"], (start, stop)
        assert (barrel[0], barrel[-1]) == ("first", "last")
        assert list(barrel[::-1]) == ["last", *expected[::-1], "first"]


SLICES = [
    slice(None, None, -1),
    slice(8, 2, -1),
    slice(59990, 40000, -3),
    slice(-100000, 3),
    slice(50000, None),
    slice(10, 50000),
    slice(10, None),
    slice(-20000, -10),
    slice(59999, 10, -1),
    slice(None, None, 2),
    slice(None, None, -7),
    slice(40000, 20),
    slice(100000, 200000),
    slice(None),
]


@pytest.mark.parametrize("wanted", SLICES, ids=str)
def test_reading_from_a_large_list(wanted):
    barrel, expected = large()
    assert list(barrel[wanted]) == expected[wanted]


@pytest.mark.parametrize("wanted", SLICES, ids=str)
def test_deleting_from_a_large_list(wanted):
    barrel, expected = large()
    del barrel[wanted]
    del expected[wanted]
    assert list(barrel) == expected
    assert [barrel.pop() for _ in expected[-5:]] == expected[-5:][::-1]


def test_many_deletions_in_a_row():
    barrel, expected = large()
    for wanted in (slice(50000, None), slice(10, 30000), slice(-5000, -1), slice(None, None, 3), slice(9, 0, -2)):
        del barrel[wanted]
        del expected[wanted]
        assert list(barrel) == expected
    del barrel[:]
    assert list(barrel) == []
    barrel.extend("abc")
    assert list(barrel[::-1]) == ["c", "b", "a"]


def test_deleting_each_whole_piece_in_turn():
    expected = list(range(40))
    sizes = [len(piece) for piece in in_many_pieces(40).lists]
    starts = list(itertools.accumulate(sizes, initial=0))
    for start, stop in itertools.combinations(starts, 2):
        barrel = in_many_pieces(40)
        del barrel[start:stop]
        assert list(barrel) == expected[:start] + expected[stop:]
        assert [barrel.pop() for _ in range(len(barrel))] == (expected[:start] + expected[stop:])[::-1]


@pytest.mark.parametrize("wanted", [slice(10, 20), slice(20, 9, -1), slice(0, 5), slice(-5000, -4990)], ids=str)
def test_deleting_neighbours_leaves_the_other_pieces_alone(wanted):
    barrel, expected = large()
    before = {id(piece): list(piece) for piece in barrel.lists}
    kept = list(barrel.lists)  # keeps the pieces alive, so that no id is used twice
    del barrel[wanted]
    del expected[wanted]
    same = [piece for piece in barrel.lists if before.get(id(piece)) == piece]
    assert len(kept) > 2
    assert len(same) >= len(kept) - 1
    assert list(barrel) == expected


@pytest.mark.parametrize("length", LENGTHS)
def test_a_step_of_zero_is_refused_and_nothing_is_deleted(length):
    barrel = in_many_pieces(length)
    with pytest.raises(ValueError):
        barrel[::0]
    with pytest.raises(ValueError):
        del barrel[2:5:0]
    assert list(barrel) == list(range(length))


class Index:
    def __init__(self, value):
        self._value = value

    def __index__(self):
        return self._value


def test_bounds_may_be_objects_with_an_index():
    expected, barrel = list(range(23)), in_many_pieces(23)
    assert list(barrel[Index(20) : Index(2) : Index(-3)]) == expected[20:2:-3]
    del barrel[Index(2) : Index(-2)]
    del barrel[:: Index(2)]
    assert list(barrel) == [1, 22]


@pytest.mark.parametrize(("start", "stop"), [(3, 8), (None, 4), (-5, None), (30, 40), (8, 3), (-100, 100)])
def test_del_slice_is_the_same_deletion(start, stop):
    expected, barrel = list(range(23)), in_many_pieces(23)
    barrel.del_slice(start, stop)
    del expected[start:stop]
    assert list(barrel) == expected
    barrel.del_slice(None, None, -2)
    del expected[::-2]
    assert list(barrel) == expected


def test_a_slice_is_a_list_of_its_own():
    barrel = in_many_pieces(23)
    part = barrel[2:20]
    del part[3:]
    barrel[2] = "changed"
    assert list(part) == [2, 3, 4]
    assert len(barrel) == 23


def test_reading_a_slice_leaves_the_pieces_as_they_are():
    barrel, _ = large()
    before = [len(piece) for piece in barrel.lists]
    assert len(barrel[10:50000:3]) == len(range(10, 50000, 3))
    assert [len(piece) for piece in barrel.lists] == before


def test_assigning_to_a_slice_still_works():
    expected, barrel = list(range(23)), in_many_pieces(23)
    barrel[3:20:4] = "abcde"
    expected[3:20:4] = "abcde"
    barrel[5:5] = [100, 101]
    expected[5:5] = [100, 101]
    assert list(barrel) == expected
