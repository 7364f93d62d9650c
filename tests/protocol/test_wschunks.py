"""The chunk: one layout, whatever is in it."""

from __future__ import annotations

import zlib

import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from uploadd.protocol.wschunks import MAX_HEADER, Chunk, pack, unpack
from uploadd.protocol.wsmessages import MAX_CLIENT_REF, MAX_INTEGER, Violation

CHUNKS = st.builds(
    Chunk,
    ref=st.integers(0, MAX_CLIENT_REF),
    at=st.integers(0, MAX_INTEGER - 64),
    data=st.binary(min_size=1, max_size=64).map(memoryview),
    last=st.booleans(),
    flush=st.booleans(),
    crc32=st.none() | st.integers(0, 2**32 - 1),
)


@given(CHUNKS)
def test_every_chunk_is_read_as_it_was_written(chunk: Chunk) -> None:
    """All flags, with and without a checksum."""
    assert unpack(pack(chunk)) == chunk


@given(CHUNKS, st.data())
def test_a_header_that_is_cut_anywhere_is_no_header(chunk: Chunk, data: st.DataObject) -> None:
    """1002 says that it is the framing that is wrong."""
    message = pack(chunk)
    header = 16 if chunk.crc32 is None else MAX_HEADER
    cut = data.draw(st.integers(0, header - 1))
    with pytest.raises(Violation) as caught:
        unpack(message[:cut])
    assert caught.value.close == 1002


@given(CHUNKS, st.data())
def test_any_bytes_are_a_chunk_or_a_violation(whole: Chunk, data: st.DataObject) -> None:
    """Nothing else is raised, and what is read is within its bounds."""
    mutated = bytearray(pack(whole))
    for _ in range(data.draw(st.integers(0, 3))):
        mutated[data.draw(st.integers(0, len(mutated) - 1))] = data.draw(st.integers(0, 255))
    message = bytes(mutated[: data.draw(st.none() | st.integers(0, len(mutated)))])
    try:
        chunk = unpack(message)
    except Violation as violation:
        event(f"closes with {violation.close}")
        return
    event("a chunk")
    assert pack(chunk) == message
    assert chunk.ref <= MAX_CLIENT_REF
    assert chunk.end <= MAX_INTEGER
    assert chunk.data or chunk.last


@given(st.binary(min_size=1, max_size=64), st.data())
def test_one_flipped_bit_of_a_payload_is_seen(payload: bytes, data: st.DataObject) -> None:
    """If the chunk has a checksum; without one nobody looks."""
    bit = data.draw(st.integers(0, len(payload) * 8 - 1))
    damaged = bytearray(payload)
    damaged[bit // 8] ^= 1 << bit % 8
    crc32 = zlib.crc32(payload)
    assert Chunk(1, 0, memoryview(payload), crc32=crc32).intact()
    assert not Chunk(1, 0, memoryview(damaged), crc32=crc32).intact()
    assert Chunk(1, 0, memoryview(damaged)).intact()


def test_the_layout_is_the_documented_one() -> None:
    """Big-endian: kind, flags, reserved, ref, offset, checksum, payload."""
    chunk = Chunk(7, 65536, memoryview(b"hello"), last=True, flush=True, crc32=zlib.crc32(b"hello"))
    assert pack(chunk).hex(" ") == (
        "01 07 00 00 00 00 00 07 00 00 00 00 00 01 00 00 36 10 a6 86 68 65 6c 6c 6f"
    )


def test_the_payload_is_not_copied() -> None:
    """A megabyte is moved once, into the store."""
    message = pack(Chunk(1, 0, memoryview(b"payload")))
    assert unpack(message).data.obj is message
