"""Masking: both routines do the same, with every kind of buffer."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from uploadd.protocol import masking

KEYS = st.binary(min_size=4, max_size=4)


@given(st.binary(max_size=100), KEYS, st.sampled_from([bytes, bytearray, memoryview]))
def test_both_routines_agree(data: bytes, key: bytes, kind: type) -> None:
    """With C and without; each byte is its XOR with the one of the key in its place."""
    masked = masking.apply_mask(kind(data), key)
    assert masked == masking.apply_mask_python(kind(data), key)
    assert masked == bytes(byte ^ key[at % 4] for at, byte in enumerate(data))
    assert isinstance(masked, bytes)


@pytest.mark.parametrize("routine", [masking.apply_mask, masking.apply_mask_python])
@pytest.mark.parametrize("start", [0, 1, 6, 14])
def test_a_piece_of_a_larger_buffer_is_read_where_it_lies(
    routine: masking.Routine, start: int
) -> None:
    """At any place of memory, and the buffer stays as it is."""
    buffer = bytearray(range(256)) * 40
    before = bytes(buffer)
    masked = routine(memoryview(buffer)[start : start + 9001], b"\x00\x01\xfe\xff")
    assert routine(masked, b"\x00\x01\xfe\xff") == before[start : start + 9001]
    assert buffer == before


def test_the_c_routine_is_there() -> None:
    """``websockets`` is a dependency for it alone; without C it would be slow and nobody told."""
    assert masking.ACCELERATED
