"""Hypothesis strategies that several test files share."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy


def chunked(data: bytes) -> SearchStrategy[list[bytes]]:
    """Every way to cut *data* into pieces, none of them empty: whole, byte by byte, anything.

    Data longer than 4 KiB is not cut into single bytes: that would only be slow.
    """
    if len(data) < 2:
        return st.just([data] if data else [])
    whole = [data]
    single = [data[at : at + 1] for at in range(len(data))] if len(data) <= 4096 else whole
    places = st.sets(st.integers(1, len(data) - 1), max_size=32)
    return st.just(whole) | st.just(single) | places.map(lambda cuts: _cut(data, sorted(cuts)))


def _cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *places, len(data)]
    return [data[start:end] for start, end in pairwise(edges)]
