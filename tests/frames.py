"""What a client may put on the wire, masked by a real key, and what a `FrameReader` makes of it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from uploadd.protocol.framereader import FrameReader, Heard
from uploadd.protocol.frames import BINARY_LIMIT, TEXT_LIMIT, Close, Judge, Refusal

TEXT, BINARY, CLOSE, PING, PONG = 0x81, 0x82, 0x88, 0x89, 0x8A
BEGIN, MORE, LAST = 0x02, 0x00, 0x80  # of a fragmented binary message
MASK: Final = b"\x01\x02\x03\x04"
SCRATCH: Final = 256 * 1024


def header(first: int, length: int, *, masked: bool = True, form: int | None = None) -> bytes:
    """A frame's header; *form* bytes of extended length, the shortest legal ones if None."""
    if form is None:
        form = 0 if length < 126 else 2 if length < 1 << 16 else 8
    short = {0: length, 2: 126, 8: 127}[form]
    extended = length.to_bytes(form, "big") if form else b""
    return bytes([first, short | (masked << 7)]) + extended + (MASK if masked else b"")


def frame(first: int, payload: bytes = b"") -> bytes:
    """A masked frame."""
    key = (MASK * (len(payload) // 4 + 1))[: len(payload)]
    mixed = int.from_bytes(payload, "big") ^ int.from_bytes(key, "big")
    return header(first, len(payload)) + mixed.to_bytes(len(payload), "big")


CLOSE_FRAME: Final = frame(CLOSE, b"\x03\xe8")
CLOSED: Final = Close(1000)


def new_reader(
    max_text: int = TEXT_LIMIT, max_binary: int = BINARY_LIMIT, turn: int = 128
) -> FrameReader:
    """A reader with limits of its own."""
    return FrameReader(Judge(max_text, max_binary), max_frames_per_turn=turn)


def drain(reader: FrameReader, now: float = 0.0) -> list[Heard]:
    """All that can be heard of what was fed."""
    heard = reader.take(now)
    while reader.pending:
        heard += reader.take(now)
    return heard


def feed(reader: FrameReader, data: bytes, *, ahead: bool = False, now: float = 0.0) -> list[Heard]:
    """Let *reader* hear *data* as a socket would: from a place that is used again, and *ahead* of
    it what there is room for.
    """
    room = reader.room if ahead else memoryview(bytearray())
    count = min(len(room), len(data))
    room[:count] = data[:count]
    scratch = bytearray(data[count:])
    reader.feed(memoryview(scratch), count)
    heard = reader.take(now)
    scratch[:] = b"\xee" * len(scratch)
    return heard + (drain(reader, now) if reader.pending else [])


def outcome(
    *pieces: bytes, reader: FrameReader | None = None, ahead: bool = False
) -> tuple[list[Heard], Refusal | None]:
    """What is heard of *pieces*, and what is refused."""
    reader = reader or new_reader()
    heard: list[Heard] = []
    for piece in pieces:
        heard += feed(reader, piece, ahead=ahead)
    return heard, reader.refusal


def code(raw: bytes, reader: FrameReader | None = None) -> int:
    """The close code that *raw* earns, 0 for none."""
    refusal = outcome(raw, reader=reader)[1]
    return refusal.code if refusal else 0


def cut(raw: bytes, block: int) -> list[bytes]:
    """*raw* in pieces of *block* bytes."""
    return [raw[at : at + block] for at in range(0, len(raw), block)]


# --- strategies -----------------------------------------------------------------------------------

Said = tuple[int, list[bytes], list[bytes]]
"""A message: opcode, fragments, and the control frames behind each fragment."""


def control() -> SearchStrategy[list[bytes]]:
    """A few Pings and Pongs."""
    one = st.builds(frame, st.sampled_from([PING, PONG]), st.binary(max_size=10))
    return st.lists(one, max_size=2)


@st.composite
def messages(draw: st.DrawFn) -> list[Said]:
    """What a client may say; characters are cut by fragments as well."""
    said = []
    for _ in range(draw(st.integers(0, 5))):
        opcode = draw(st.sampled_from([1, 2]))
        piece = st.text(max_size=40).map(str.encode) if opcode == 1 else st.binary(max_size=300)
        pieces = draw(st.lists(piece, min_size=1, max_size=4))
        if opcode == 1 and len(pieces) > 1 and draw(st.booleans()):
            whole, place = b"".join(pieces), draw(st.integers(0, 40))
            pieces = [whole[:place], whole[place:]]
        said.append((opcode, pieces, draw(control())))
    return said


def wire(said: Iterable[Said]) -> bytes:
    """The frames of it."""
    out = b""
    for opcode, pieces, between in said:
        for at, piece in enumerate(pieces):
            first = (opcode if at == 0 else 0) | (0x80 if at == len(pieces) - 1 else 0)
            out += frame(first, piece) + b"".join(between)
    return out


def any_frames() -> SearchStrategy[bytes]:
    """Frames with every first byte and every length, legal or not, and bytes that are none."""
    odd = st.builds(
        lambda first, length, masked, form, body: (
            header(first, min(length, 125) if form == 0 else length, masked=masked, form=form)
            + body
        ),
        st.sampled_from([*range(16), *range(0x80, 0x90), 0xC2, 0x91]),
        st.integers(0, 200) | st.integers(0, 65_535),
        st.booleans() | st.just(True),
        st.sampled_from([0, 2, 8]),
        st.binary(max_size=200),
    )
    legal = st.builds(
        frame, st.sampled_from([0, 1, 2, 0x80, TEXT, BINARY, PING, CLOSE]), st.binary(max_size=9)
    )
    good = messages().map(wire)
    return st.lists(good | legal | odd | st.binary(max_size=20), max_size=6).map(b"".join)
