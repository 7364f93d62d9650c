"""From bytes to messages: whatever the cut, the same is heard; the library is the oracle."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wsproto import ConnectionType
from wsproto.connection import Connection
from wsproto.events import (
    BytesMessage,
    CloseConnection,
    Event,
    Message,
    TextMessage,
)
from wsproto.events import Ping as LibraryPing
from wsproto.utilities import RemoteProtocolError

from tests.frames import (
    BEGIN,
    BINARY,
    CLOSE,
    CLOSE_FRAME,
    CLOSED,
    LAST,
    MORE,
    PING,
    SCRATCH,
    TEXT,
    any_frames,
    code,
    control,
    cut,
    drain,
    feed,
    frame,
    header,
    messages,
    new_reader,
    outcome,
    wire,
)
from tests.strategies import chunked
from uploadd.protocol import framereader, masking
from uploadd.protocol.framereader import FIRST_ROOM, Heard
from uploadd.protocol.frames import BINARY_LIMIT, Close, Ping


@pytest.fixture(params=[masking.apply_mask, masking.apply_mask_python], ids=["chosen", "python"])
def routine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both routines that unmask take their turn."""
    monkeypatch.setattr(framereader, "apply_mask", request.param)


# --- what is heard --------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 8192, 65_535, 65_536, BINARY_LIMIT])
@pytest.mark.parametrize("block", [6, 13, 4096, 262_144, 2_000_000])
@pytest.mark.parametrize("ahead", [False, True])
def test_a_message_is_heard_as_it_was_said(size: int, block: int, ahead: bool) -> None:
    """In each of the three forms of length, at their edges, up to the limit."""
    if size / block > 2000:
        block *= 100
    data = (b"0123456789abcde" * (size // 15 + 1))[:size]
    raw = (frame(BINARY, data) + frame(PING, b"x")) * 2
    assert outcome(*cut(raw, block), ahead=ahead) == ([data, Ping(b"x")] * 2, None)


@pytest.mark.usefixtures("routine")
def test_a_large_fragmented_message_is_joined() -> None:
    """Each fragment by its own key, wherever it was cut."""
    parts = [bytes([at]) * size for at, size in enumerate((70_000, 0, 300_001, 5, 99_999))]
    raw = b"".join(
        frame((0 if at else 2) | (0x80 if at == 4 else 0), part) for at, part in enumerate(parts)
    )
    for block in (50_000, SCRATCH, len(raw)):
        for ahead in (False, True):
            assert outcome(*cut(raw, block), ahead=ahead) == ([b"".join(parts)], None)


def test_a_message_is_nobody_elses_memory() -> None:
    """It stays as it is, whatever comes behind it: it may wait for the disk."""
    reader, heard = new_reader(), []
    for at in range(50):
        raw = frame(BINARY, bytes([at]) * 100_000)
        for piece in cut(raw, 30_000):
            heard += feed(reader, piece, ahead=bool(at % 2))
    assert heard == [bytes([at]) * 100_000 for at in range(50)]
    assert all(isinstance(one, bytes) for one in heard)


def test_there_is_room_for_the_rest_of_a_large_frame_and_no_more() -> None:
    """It grows as bytes come: a header alone costs little memory."""
    reader = new_reader()
    feed(reader, header(BINARY, 1 << 20))
    assert len(reader.room) == FIRST_ROOM
    come = 0
    while come < 1 << 20:
        room = reader.room
        assert 0 < len(room) <= max(come, FIRST_ROOM)
        assert come + len(room) <= 1 << 20
        come += len(room)
        reader.feed(b"", len(room))
        heard = reader.take(0)
    assert [len(one) for one in heard if isinstance(one, bytes)] == [1 << 20]
    assert len(reader.room) == 0


def test_the_room_of_a_frame_is_kept_for_the_next_until_the_peer_is_quiet() -> None:
    """Never while one has begun."""
    size = 4 * FIRST_ROOM
    reader = new_reader()
    outcome(frame(BINARY, bytes(size)), header(BINARY, size), reader=reader, ahead=True)
    assert len(reader.room) == FIRST_ROOM
    outcome(*cut(bytes(size) + header(BINARY, size), FIRST_ROOM), reader=reader, ahead=True)
    assert len(reader.room) == size
    feed(reader, bytes(size // 2), ahead=True)
    reader.rest()
    assert len(reader.room) == size // 2
    feed(reader, bytes(size // 2), ahead=True)
    assert reader.memory == size
    reader.rest()
    assert reader.memory == 0
    feed(reader, header(BINARY, size))
    assert len(reader.room) == FIRST_ROOM


def test_there_is_no_room_where_nothing_has_begun() -> None:
    """Nor for text, nor behind a Close."""
    reader = new_reader()
    for said in (b"", frame(BINARY, b"abc"), header(BINARY, 9)[:3], frame(TEXT, bytes(99))[:40]):
        reader = new_reader()
        feed(reader, said)
        assert len(reader.room) == 0
    reader = new_reader()
    feed(reader, frame(BINARY, bytes(99))[:40])
    assert len(reader.room) == 99 - 34
    reader.closing()
    assert len(reader.room) == 0


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_bytes_of_every_kind_may_be_fed(kind: type) -> None:
    """Whatever a stream returns."""
    raw = frame(TEXT, b"abc") + frame(BEGIN, b"d" * 200) + frame(LAST) + CLOSE_FRAME
    reader, heard = new_reader(), []
    for piece in cut(raw, 5):
        reader.feed(kind(piece))
        heard += drain(reader)
    assert heard == ["abc", b"d" * 200, CLOSED]


def test_feeding_before_all_was_taken_loses_nothing() -> None:
    """The order is kept."""
    reader = new_reader(turn=1)
    raw = frame(TEXT, b"a") + frame(TEXT, b"b") + frame(TEXT, b"c")
    reader.feed(raw[:10])
    first = reader.take(0)
    reader.feed(raw[10:])
    assert first + drain(reader) == ["a", "b", "c"]


def test_a_turn_has_at_most_128_frames() -> None:
    """However many came in one read; the rest is pending, and comes in the next turns."""
    reader = new_reader()
    frames = [frame(BINARY), frame(TEXT, b"a"), frame(BEGIN) + frame(LAST)]
    scratch = bytearray(b"".join(frames) * 100)  # 400 frames
    reader.feed(memoryview(scratch))
    heard = [reader.take(0)]
    scratch[:] = bytes(len(scratch))  # it was read again meanwhile
    while reader.pending:
        heard.append(reader.take(0))
    assert [len(turn) for turn in heard] == [96, 96, 96, 12]
    assert [one for turn in heard for one in turn] == [b"", "a", b""] * 100


def test_the_rest_of_a_frame_is_one_of_them() -> None:
    """A frame counts where it is taken."""
    reader = new_reader()
    raw = frame(BINARY, b"a" * 1000)
    assert feed(reader, raw[:500]) == []
    reader.feed(raw[500:] + frame(BINARY) * 128)
    assert reader.take(0) == [b"a" * 1000] + [b""] * 127
    assert reader.pending
    assert reader.take(0) == [b""]
    assert not reader.pending


# --- text -----------------------------------------------------------------------------------------

BAD_TEXTS = {
    "a byte that is never there": b"fine \xff",
    "an overlong form": b"\xc0\xaf",
    "half a surrogate pair": b"\xed\xa0\x80",
    "beyond the last character": b"\xf4\x90\x80\x80",
    "cut in a character": "é".encode()[:1],
}


@pytest.mark.parametrize("said", BAD_TEXTS.values(), ids=BAD_TEXTS)
def test_a_text_that_is_not_utf8_is_1007(said: bytes) -> None:
    """In one frame or in several; what came before it is heard."""
    good = frame(TEXT, "Grüße".encode())
    for raw in (frame(TEXT, said), frame(0x01, said[:1]) + frame(LAST, said[1:])):
        for block in (1, 1000):
            heard, refusal = outcome(*cut(good + raw + good, block))
            assert heard == ["Grüße"]
            assert refusal is not None
            assert refusal.code == 1007


def test_a_text_is_refused_before_its_end() -> None:
    """At the byte that shows it, in the middle of a frame or of a message."""
    assert code(frame(TEXT, b"abc\xff" + bytes(100))[:-90]) == 1007
    assert code(frame(0x01, "é".encode() + b"\xff")) == 1007
    assert code(frame(0x01, "é".encode()[:1])) == 0


# --- the end --------------------------------------------------------------------------------------


def test_nothing_is_heard_behind_a_close() -> None:
    """Neither what came with it nor what comes later."""
    reader = new_reader()
    raw = CLOSE_FRAME + frame(TEXT, b"a")
    assert outcome(raw, frame(PING), frame(TEXT, b"\xff"), reader=reader) == ([CLOSED], None)
    assert reader.peer_closed
    reader.closing()
    assert outcome(CLOSE_FRAME, reader=reader) == ([], None)
    assert not reader.pending


AFTER = [
    frame(TEXT, b"a") * 300,
    frame(PING) * 300,
    header(BINARY, 100_000) + bytes(100_000),
    header(BINARY, 5, masked=False) + CLOSE_FRAME[:5],
    frame(BINARY, CLOSE_FRAME),
    frame(CLOSE, b"a" * 126),
    header(CLOSE, 2, masked=False) + b"\x03\xe8",
    frame(CLOSE & 0x7F),
    frame(0x8F, b"abc"),
    b"",
]


@pytest.mark.parametrize("rubbish", AFTER)
@pytest.mark.parametrize("block", [1, 7, 1_000_000])
@pytest.mark.parametrize("refused", [False, True])
def test_once_we_have_closed_all_is_dropped_up_to_the_peers_close(
    rubbish: bytes, block: int, refused: bool
) -> None:
    """Whatever comes before it, also what would have been refused, and nothing after it."""
    reader = new_reader()
    if refused:
        assert code(frame(LAST, b"the reason"), reader) == 1002
        first = reader.refusal
    else:
        reader.closing()
        first = None
    raw = rubbish + CLOSE_FRAME + frame(TEXT, b"b") + frame(CLOSE, b"\x03\xe9")
    block = max(block, len(raw) // 3000)
    heard, _ = outcome(*cut(raw, block), reader=reader)
    assert heard == []
    assert reader.refusal == first
    assert reader.peer_closed


def test_dropping_takes_turns_too() -> None:
    """A peer that does not stop sending does not hold the loop."""
    reader = new_reader()
    reader.closing()
    reader.feed(frame(TEXT) * 1000 + CLOSE_FRAME)
    turns = 0
    while not reader.peer_closed:
        assert reader.pending
        assert reader.take(0) == []
        turns += 1
    assert 1000 // 128 + 1 <= turns <= 1000 // 128 + 2


@pytest.mark.parametrize("first", [BEGIN, 0x01])
def test_a_frame_of_which_half_has_come_is_dropped_to_its_end(first: int) -> None:
    """Otherwise its payload would be taken for frames."""
    reader = new_reader()
    raw = frame(first, CLOSE_FRAME * 125)
    assert feed(reader, raw[:400]) == []
    reader.closing()
    assert feed(reader, raw[400:700]) == []
    assert not reader.peer_closed
    assert feed(reader, raw[700:] + frame(LAST, b"b")) == []
    assert not reader.peer_closed
    assert feed(reader, CLOSE_FRAME) == []
    assert reader.peer_closed


def test_what_was_fed_and_not_taken_when_we_close_is_dropped() -> None:
    """A message that waited for its turn, and half a Ping."""
    reader = new_reader(turn=1)
    reader.feed(frame(TEXT, b"a") + frame(TEXT, b"b"))
    assert reader.take(0) == ["a"]
    reader.closing()
    assert drain(reader) == []
    assert feed(reader, frame(PING, b"abc")[:5]) == []
    assert feed(reader, frame(PING, b"abc")[5:] + CLOSE_FRAME) == []
    assert reader.peer_closed


# --- how long a message is open -------------------------------------------------------------------


def test_a_message_is_open_from_its_first_header_to_its_last_byte() -> None:
    """With the time at which it began; a control frame in between is no end of it."""
    reader = new_reader()
    script = [
        (1.0, frame(BINARY, b"a") + frame(BINARY, b"abc")[:5], None),  # half a header is no message
        (2.0, frame(BINARY, b"abc")[5:7], 2.0),
        (3.0, frame(BINARY, b"abc")[7:8], 2.0),
        (4.0, frame(BINARY, b"abc")[8:], None),
        (5.0, frame(BEGIN), 5.0),
        (6.0, frame(PING) + frame(MORE, b"a"), 5.0),
        (7.0, frame(LAST) + frame(BEGIN), 7.0),
        (8.0, frame(LAST, b"a" * 300)[:200], 7.0),
        (9.0, frame(LAST, b"a" * 300)[200:] + frame(TEXT, b"a"), None),
        (10.0, frame(0x01), 10.0),
        (11.0, frame(MORE, b"abc")[:7], 10.0),
    ]
    for now, raw, since in script:
        feed(reader, raw, now=now)
        assert reader.message_since == since, now
    reader.closing()
    assert reader.message_since is None


def test_the_bytes_of_an_open_message_are_counted_until_it_ends() -> None:
    """Payload only, over its fragments, as far as it has come."""
    for ahead in (False, True):
        reader = new_reader()
        whole, more = frame(BINARY, b"a" * 1000), frame(MORE, b"b" * 50)
        for raw, held in (
            *[(whole[:508], 500), (whole[508:], 0), (frame(TEXT, b"abc"), 0)],
            *[(frame(TEXT, b"abc")[:8], 2), (frame(TEXT, b"abc")[8:], 0)],
            *[(frame(BEGIN, b"a" * 200), 200), (more[:26], 220)],
            *[(more[26:] + frame(PING, b"x"), 250)],
            *[(frame(LAST, b"c") + frame(BEGIN, b"d"), 1), (frame(LAST), 0)],
        ):
            feed(reader, raw, ahead=ahead)
            assert reader.open_bytes == held


# --- properties -----------------------------------------------------------------------------------


@given(st.data(), any_frames())
def test_any_split_lets_the_same_be_heard_and_refuses_the_same(
    data: st.DataObject, raw: bytes
) -> None:
    """Read ahead or not, in turns of any size."""
    reader, whole = new_reader(turn=data.draw(st.integers(1, 10))), new_reader()
    ahead = data.draw(st.booleans())
    split = outcome(*data.draw(chunked(raw)), reader=reader, ahead=ahead)
    assert split == outcome(raw, reader=whole)
    assert reader.message_since == whole.message_since
    assert reader.open_bytes == whole.open_bytes
    assert reader.peer_closed == whole.peer_closed
    assert not reader.pending
    assert not whole.pending


@given(st.data(), any_frames(), any_frames())
def test_whenever_we_close_the_rest_is_dropped_in_step(
    data: st.DataObject, before: bytes, behind: bytes
) -> None:
    """However it is cut: nothing is heard, and the peer's Close is found or not."""
    results = []
    for pieces in (data.draw(chunked(behind)), [behind] if behind else []):
        reader = new_reader()
        _, refusal = outcome(before, reader=reader)
        reader.closing()
        assert outcome(*pieces, reader=reader) == ([], refusal)
        results.append(reader.peer_closed)
    assert results[0] == results[1]


def library(raw: bytes) -> tuple[list[Heard], bool]:
    """What the library hears in *raw* up to a Close, and whether it gave up over it."""
    connection, heard = Connection(ConnectionType.SERVER), list[Heard]()
    pieces: list[str | bytes] = []

    def hear(event: Event) -> bool:
        if isinstance(event, Message):
            pieces.append(event.data if isinstance(event, TextMessage) else bytes(event.data))
            if event.message_finished:
                text = isinstance(event, TextMessage)
                heard.append("".join(pieces) if text else b"".join(pieces))  # type: ignore[arg-type]
                pieces.clear()
        elif isinstance(event, LibraryPing):
            heard.append(Ping(bytes(event.payload)))
        elif isinstance(event, CloseConnection):
            heard.append(Close(None if event.code == 1005 else int(event.code)))
            return True
        return False

    connection.receive_data(raw)
    try:
        for event in connection.events():
            if hear(event):
                break
    except RemoteProtocolError:
        return heard, True
    return heard, False


@given(any_frames())
def test_it_hears_what_the_library_hears_and_is_at_least_as_strict(raw: bytes) -> None:
    """What is not refused is understood alike; what the library does not take is refused."""
    heard, refusal = outcome(raw)
    theirs, failed = library(raw)
    if refusal is None:
        assert heard == theirs
    else:
        assert heard == theirs[: len(heard)]
    if failed:
        # We read whole headers, and whole control frames: bytes behind the last one complete it.
        assert outcome(raw + bytes(14 + 125))[1] is not None


@st.composite
def library_said(draw: st.DrawFn) -> list[Event]:
    """What a client says through the library: messages in fragments, pings between messages."""
    said: list[Event] = []
    for _ in range(draw(st.integers(0, 6))):
        if draw(st.booleans()):
            said.append(LibraryPing(draw(st.binary(max_size=125))))
        text = draw(st.booleans())
        parts = draw(st.lists(st.text() if text else st.binary(max_size=400), min_size=1))
        for at, part in enumerate(parts):
            kind = TextMessage if text else BytesMessage
            said.append(kind(part, message_finished=at == len(parts) - 1))  # type: ignore[arg-type]
    return said


@given(st.data(), library_said(), st.none() | st.sampled_from([1000, 1001, 4400]))
def test_whatever_the_library_says_is_heard(
    data: st.DataObject, said: list[Event], code: int | None
) -> None:
    """The same messages and pings in the same order, then its Close."""
    client = Connection(ConnectionType.CLIENT)
    raw, expected = b"", list[Heard]()
    parts: list[str | bytes] = []
    for event in said:
        raw += client.send(event)
        if isinstance(event, LibraryPing):
            expected.append(Ping(bytes(event.payload)))
        elif isinstance(event, Message):
            parts.append(event.data)
            if event.message_finished:
                text = isinstance(event, TextMessage)
                expected.append("".join(parts) if text else b"".join(parts))  # type: ignore[arg-type]
                parts.clear()
    if code is not None:
        raw += client.send(CloseConnection(code, "Grüße"))
        expected.append(Close(code))
    pieces = data.draw(chunked(raw))
    assert outcome(*pieces, ahead=data.draw(st.booleans())) == (expected, None)


@given(st.data(), messages(), control())
def test_what_is_legal_is_heard_whole(
    data: st.DataObject, said: list[tuple[int, list[bytes], list[bytes]]], last: list[bytes]
) -> None:
    """With control frames between the fragments, which the library does not send."""
    raw = wire(said) + b"".join(last)
    heard, refusal = outcome(*data.draw(chunked(raw)), ahead=data.draw(st.booleans()))
    assert refusal is None
    told = [one for one in heard if isinstance(one, str | bytes)]
    whole = [(opcode, b"".join(pieces)) for opcode, pieces, _ in said]
    assert told == [data.decode() if opcode == 1 else data for opcode, data in whole]
