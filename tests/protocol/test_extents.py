"""Extents against a set of integers: what is held is held, byte for byte."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from uploadd.protocol.extents import NOTHING, Extents

MOST = 30
ranges = st.tuples(st.integers(0, MOST), st.integers(0, MOST)).map(lambda p: (min(p), max(p)))
lists = st.lists(ranges, max_size=8)


def bytes_of(pairs: list[tuple[int, int]] | Extents) -> set[int]:
    """The model: every position on its own."""
    return {at for start, end in pairs for at in range(start, end)}


@given(lists)
def test_it_is_the_set_of_the_bytes_in_any_order(pairs: list[tuple[int, int]]) -> None:
    """Built at once, one by one, or by union: the same, disjoint, sorted, never touching."""
    extents = Extents(pairs)
    assert bytes_of(extents) == bytes_of(pairs)
    assert all(before[1] < after[0] for before, after in pairwise(extents))
    assert all(start < end for start, end in extents)
    one_by_one = united = NOTHING
    for start, end in pairs:
        one_by_one = one_by_one.add(start, end)
        united = Extents([(start, end)]).union(united)
    assert one_by_one == united == extents
    assert hash(one_by_one) == hash(extents)


@given(lists, ranges)
def test_adding_changes_nothing_that_was_held(
    pairs: list[tuple[int, int]], more: tuple[int, int]
) -> None:
    """The old one is a snapshot, the new one holds both."""
    before = Extents(pairs)
    after = before.add(*more)
    assert before == Extents(pairs)
    assert bytes_of(after) == bytes_of(pairs) | set(range(*more))


@given(lists, lists)
def test_a_union_holds_what_either_holds(
    one: list[tuple[int, int]], other: list[tuple[int, int]]
) -> None:
    """Either way round."""
    assert Extents(one).union(Extents(other)) == Extents(one + other)
    assert Extents(other).union(Extents(one)) == Extents(one + other)


@given(lists, st.integers(1, 9))
def test_parts_are_whole_and_nothing_is_lost(pairs: list[tuple[int, int]], grain: int) -> None:
    """Every part of which all bytes are held, and the rest."""
    whole, rest = Extents(pairs).parts(grain)
    held = bytes_of(pairs)
    parts = (set(range(at, at + grain)) for at in range(0, MOST + grain, grain))
    assert bytes_of(whole) == set().union(*(part for part in parts if part <= held))
    assert bytes_of(rest) == held - bytes_of(whole)


@given(lists, ranges)
def test_missing_is_what_is_not_held(pairs: list[tuple[int, int]], asked: tuple[int, int]) -> None:
    """In order, without empty pieces; covered is when nothing is."""
    extents = Extents(pairs)
    gaps = extents.missing(*asked)
    assert bytes_of(gaps) == set(range(*asked)) - bytes_of(pairs)
    assert list(Extents(gaps)) == gaps
    assert extents.covers(*asked) == (set(range(*asked)) <= bytes_of(pairs))


@given(lists, st.integers(0, MOST + 1))
def test_a_run_ends_at_the_first_byte_that_is_not_held(
    pairs: list[tuple[int, int]], start: int
) -> None:
    """From any place; the offset is the run from the start."""
    extents, held = Extents(pairs), bytes_of(pairs)
    end = start
    while end in held:
        end += 1
    assert extents.end_from(start) == end
    assert extents.offset == extents.end_from(0)


@given(lists)
def test_the_numbers_are_those_of_the_set(pairs: list[tuple[int, int]]) -> None:
    """Total, end, length and truth."""
    extents, held = Extents(pairs), bytes_of(pairs)
    assert extents.total == len(held)
    assert extents.end == max(held, default=-1) + 1
    assert bool(extents) == bool(held)
    assert len(extents) == len(list(extents))
    assert repr(extents) == f"Extents({list(extents)})"


@pytest.mark.parametrize("pair", [(-1, 2), (3, 2)])
def test_what_is_no_range_is_refused(pair: tuple[int, int]) -> None:
    """Negative, or ending before it starts."""
    with pytest.raises(ValueError, match="not a range"):
        Extents([pair])
    with pytest.raises(ValueError, match="not a range"):
        NOTHING.add(*pair)


def test_it_is_equal_to_nothing_else() -> None:
    """Also not to its pairs."""
    assert Extents([(0, 1)]) != [(0, 1)]
    assert Extents([(3, 3)]) == NOTHING
