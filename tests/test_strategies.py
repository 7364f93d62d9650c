"""The strategies themselves: a strategy that cuts nothing would make its users' tests empty."""

from __future__ import annotations

import pytest
from hypothesis import find, given
from hypothesis import strategies as st

from tests.strategies import chunked


@given(st.data(), st.binary(max_size=200))
def test_the_pieces_are_the_data_and_none_is_empty(data: st.DataObject, whole: bytes) -> None:
    """Joined they are what was cut."""
    pieces = data.draw(chunked(whole))
    assert b"".join(pieces) == whole
    assert all(pieces)


@pytest.mark.parametrize("count", [1, 2, 5, 26])
def test_the_data_is_cut_into_few_and_many_pieces(count: int) -> None:
    """From one piece to one for every byte, each number of pieces comes up."""
    whole = bytes(range(26))
    assert b"".join(find(chunked(whole), lambda pieces: len(pieces) == count)) == whole
