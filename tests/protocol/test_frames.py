"""Frames: what is legal passes verbatim and in portions; the rest is refused at its header."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from wsproto import ConnectionType
from wsproto.connection import Connection
from wsproto.events import Event, Message, Ping, Pong, TextMessage
from wsproto.frame_protocol import FrameDecoder, Opcode, ParseFailed

from tests.strategies import chunked
from uploadd.protocol.frames import (
    BINARY_LIMIT,
    BYTES_PER_FRAGMENT,
    FREE_FRAGMENTS,
    TEXT_LIMIT,
    FrameGate,
    Refusal,
)

TEXT, BINARY, CLOSE, PING, PONG = 0x81, 0x82, 0x88, 0x89, 0x8A
BEGIN, MORE, LAST = 0x02, 0x00, 0x80  # of a fragmented binary message
MASK = b"\x01\x02\x03\x04"


def header(first: int, length: int, *, masked: bool = True, form: int | None = None) -> bytes:
    """A frame's header; *form* bytes of extended length, the shortest legal ones if None."""
    if form is None:
        form = 0 if length < 126 else 2 if length < 1 << 16 else 8
    short = {0: length, 2: 126, 8: 127}[form]
    extended = length.to_bytes(form, "big") if form else b""
    return bytes([first, short | (masked << 7)]) + extended + (MASK if masked else b"")


def frame(first: int, payload: bytes = b"") -> bytes:
    """A masked frame."""
    key = MASK * (len(payload) // 4 + 1)
    return header(first, len(payload)) + bytes(a ^ b for a, b in zip(payload, key, strict=False))


CLOSE_FRAME = frame(CLOSE, b"\x03\xe8")


def drain(gate: FrameGate, now: float = 0.0) -> bytes:
    """All that may pass of what was fed."""
    passed = [gate.take(now)]
    while gate.pending:
        passed.append(gate.take(now))
    return b"".join(passed)


def outcome(*pieces: bytes, gate: FrameGate | None = None) -> tuple[bytes, Refusal | None]:
    """What passes of *pieces*, and what is refused."""
    gate = gate or FrameGate()
    passed = []
    for piece in pieces:
        gate.feed(piece)
        passed.append(drain(gate))
    return b"".join(passed), gate.refusal


def code(raw: bytes, gate: FrameGate | None = None) -> int:
    """The close code that *raw* earns, 0 for none."""
    refusal = outcome(raw, gate=gate)[1]
    return refusal.code if refusal else 0


# --- what passes ----------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 8192, 65_535, 65_536, BINARY_LIMIT])
@pytest.mark.parametrize("block", [6, 13, 4096, 262_144, 2_000_000])
def test_a_message_passes_verbatim(size: int, block: int) -> None:
    """In each of the three forms of length, at their edges, up to the limit."""
    if size / block > 2000:
        block *= 100
    raw = (header(BINARY, size) + bytes(size) + frame(PING, b"x")) * 2
    pieces = [raw[at : at + block] for at in range(0, len(raw), block)]
    assert outcome(*pieces) == (raw, None)


def test_what_was_fed_is_handed_over_uncopied() -> None:
    """A read inside a large frame is returned as it is; one with an end in it, as slices of it."""
    gate = FrameGate()
    read = header(BINARY, 1 << 20) + bytes(262_144)
    gate.feed(read)
    assert gate.take(0) is read
    for at in range(2):
        read = bytes([at]) * 262_144
        gate.feed(read)
        assert gate.take(0) is read
        assert not gate.pending
    read = bytes(262_144) + frame(PING)[:1]
    gate.feed(read)
    passed = gate.take(0)
    assert isinstance(passed, memoryview)
    assert passed.obj is read
    assert len(passed) == 262_144
    assert not gate.pending


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_bytes_of_every_kind_may_be_fed(kind: type) -> None:
    """Whatever a stream returns."""
    raw = frame(TEXT, b"abc") + frame(BEGIN, b"d" * 200) + frame(LAST) + CLOSE_FRAME
    assert outcome(*(kind(raw[at : at + 5]) for at in range(0, len(raw), 5))) == (raw, None)


def test_a_control_frame_passes_when_it_is_whole() -> None:
    """So that none can begin before our Close and end after it."""
    ping = frame(PING, b"p" * 125)
    gate = FrameGate()
    gate.feed(frame(BINARY, b"abc") + ping[:-1])
    assert drain(gate) == frame(BINARY, b"abc")
    gate.feed(ping[-1:])
    assert drain(gate) == ping


def test_feeding_before_all_was_taken_loses_nothing() -> None:
    """The order is kept."""
    gate = FrameGate(max_frames_per_turn=1)
    raw = frame(TEXT, b"a") + frame(TEXT, b"b") + frame(TEXT, b"c")
    gate.feed(raw[:10])
    first = bytes(gate.take(0))
    gate.feed(raw[10:])
    assert first + drain(gate) == raw


def test_a_turn_has_at_most_128_frames() -> None:
    """However many came in one read; the rest is pending, and comes in the next turns."""
    gate = FrameGate()
    frames = [frame(BINARY), frame(TEXT, b"a"), frame(BEGIN) + frame(LAST)]
    raw = b"".join(frames) * 100  # 400 frames
    gate.feed(raw)
    sizes = []
    while gate.pending:
        sizes.append(len(gate.take(0)))
    assert sizes[0] == len(b"".join(frames) * 32)
    assert len(sizes) == 4
    assert sum(sizes) == len(raw)


def test_the_rest_of_a_frame_and_128_more_are_a_turn() -> None:
    """A frame counts where it begins."""
    gate = FrameGate()
    raw = frame(BINARY, b"a" * 1000)
    gate.feed(raw[:500])
    assert len(gate.take(0)) == 500
    gate.feed(raw[500:] + frame(BINARY) * 129)
    assert len(gate.take(0)) == len(raw) - 500 + 128 * 6
    assert gate.pending
    assert gate.take(0) == frame(BINARY)
    assert not gate.pending


# --- what is refused ------------------------------------------------------------------------

PROTOCOL_ERRORS = {
    "unmasked text": header(TEXT, 3, masked=False) + b"abc",
    "unmasked control": header(PING, 0, masked=False),
    "unmasked large": header(BINARY, 70_000, masked=False),
    **{f"reserved bit {bit:#x}": frame(TEXT | bit, b"a") for bit in (0x10, 0x20, 0x40, 0x70)},
    "reserved bit on Close": frame(CLOSE | 0x40),
    **{f"opcode {op:#x}": frame(0x80 | op) for op in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)},
    "fragmented Ping": frame(PING & 0x7F),
    "fragmented Close": frame(CLOSE & 0x7F),
    "Ping of 126 bytes": frame(PING, b"a" * 126),
    "Close of 126 bytes": frame(CLOSE, b"a" * 126),
    "Pong of 65 536 bytes": header(PONG, 65_536),
    "continuation of nothing": frame(MORE, b"a"),
    "last of nothing": frame(LAST, b"a"),
    "continuation behind an end": frame(BEGIN) + frame(LAST) + frame(LAST),
    "text inside a message": frame(BEGIN, b"a") + frame(TEXT, b"b"),
    "binary inside a message": frame(BEGIN, b"a") + frame(MORE) + frame(BEGIN, b"b"),
    "16 bits for 125": header(TEXT, 125, form=2),
    "64 bits for 65 535": header(BINARY, 65_535, form=8),
    "the top bit of 64": header(BINARY, 1 << 63, form=8),
    "all bits of 64": header(BINARY, (1 << 64) - 1, form=8),
}


@pytest.mark.parametrize("raw", PROTOCOL_ERRORS.values(), ids=PROTOCOL_ERRORS)
def test_what_breaks_the_protocol_is_1002(raw: bytes) -> None:
    """Behind good frames, which pass, and in any state of the message before it."""
    before = frame(TEXT, b"fine") + frame(PING)
    passed, refusal = outcome(before + raw)
    assert passed.startswith(before)
    assert refusal is not None
    assert refusal.code == 1002
    assert len(refusal.reason) <= 123


@pytest.mark.parametrize(
    ("name", "said"),
    [
        *[("reserved bit 0x10", "a reserved bit"), ("reserved bit 0x70", "a reserved bit")],
        *[("opcode 0x3", "a reserved opcode"), ("opcode 0xb", "a reserved opcode")],
        *[("fragmented Ping", "fragmented"), ("unmasked text", "mask")],
        *[("text inside a message", "inside another"), ("last of nothing", "nothing to continue")],
        *[("Ping of 126 bytes", "125 bytes"), ("the top bit of 64", "a length")],
    ],
)
def test_a_refusal_says_what_is_wrong_with_the_frame(name: str, said: str) -> None:
    """In the reason of our Close, for whoever writes a client."""
    refusal = outcome(PROTOCOL_ERRORS[name])[1]
    assert refusal is not None
    assert said in refusal.reason


def test_the_bounds_are_those_of_the_documents() -> None:
    """They are published."""
    assert (TEXT_LIMIT, BINARY_LIMIT) == (8192, 1_048_576 + 24)
    assert (FREE_FRAGMENTS, BYTES_PER_FRAGMENT) == (64, 4096)


@pytest.mark.parametrize(
    ("first", "limit"),
    [(TEXT, TEXT_LIMIT), (BINARY, BINARY_LIMIT), (BEGIN, BINARY_LIMIT), (0x01, TEXT_LIMIT)],
)
def test_an_oversize_message_is_refused_at_its_header(first: int, limit: int) -> None:
    """Of the payload nothing was read, and nothing passes."""
    assert outcome(header(first, limit)) == (header(first, limit), None)
    for size in (limit + 1, 1 << 40, (1 << 63) - 1):
        passed, refusal = outcome(header(first, size))
        assert passed == b""
        assert refusal is not None
        assert refusal.code == 1009
        assert str(limit) in refusal.reason


@pytest.mark.parametrize("first", [0x01, 0x02])
def test_the_sum_over_fragments_counts(first: int) -> None:
    """It is refused at the header of the fragment that would exceed it."""
    raw = frame(first, b"a" * 60) + frame(MORE, b"a" * 39)
    assert code(raw + frame(LAST, b"a"), FrameGate(100, 100)) == 0
    passed, refusal = outcome(raw + header(LAST, 2), gate=FrameGate(100, 100))
    assert passed == raw
    assert refusal is not None
    assert refusal.code == 1009


@pytest.mark.parametrize(("sizes", "refused"), [([0, 124, 125], False), ([5, 126], True)])
def test_small_limits_hold_for_small_messages(sizes: list[int], refused: bool) -> None:
    """Also where a message is too short to be looked at twice."""
    for first in (TEXT, BINARY):
        raw = b"".join(frame(first, b"a" * size) for size in sizes)
        assert code(raw, FrameGate(125, 125)) == (1009 if refused else 0)
    assert code(frame(TEXT, b"abc"), FrameGate(2, 1000)) == 1009
    assert code(frame(BINARY, b"abc"), FrameGate(1000, 2)) == 1009


def test_a_message_keeps_the_larger_limit_it_began_under() -> None:
    """The limit follows the number of sessions; a message under way is not cut for that."""
    gate = FrameGate(max_binary=1000)
    gate.feed(frame(BEGIN, b"a" * 500))
    drain(gate)
    gate.max_binary = 600
    gate.feed(frame(LAST, b"a" * 500))
    assert len(drain(gate)) == 508
    assert gate.refusal is None
    assert code(header(BINARY, 601), gate) == 1009


def test_a_message_profits_from_a_limit_that_was_raised() -> None:
    """Also when it had begun; text has a limit of its own."""
    for first, refused in ((0x02, 0), (0x01, 1009)):
        gate = FrameGate(max_text=600, max_binary=600)
        gate.feed(frame(first, b"a" * 500))
        drain(gate)
        gate.max_binary = 1000
        assert code(frame(LAST, b"a" * 500), gate) == refused


def test_64_fragments_are_free_and_each_4_kib_earn_one_more() -> None:
    """Of payload that was received before; the one that is too much does not pass."""
    free = frame(BEGIN) + frame(MORE) * (FREE_FRAGMENTS - 1)
    assert outcome(free) == (free, None)
    assert outcome(free + frame(LAST, b"a"))[0] == free
    assert code(free + frame(LAST, b"a")) == 1008
    for earned in (1, 7):
        paid = frame(BEGIN, b"a" * BYTES_PER_FRAGMENT * earned) + frame(MORE) * 63
        assert code(paid + frame(MORE) * earned) == 0
        assert code(paid + frame(MORE) * (earned + 1)) == 1008
    assert code(frame(BEGIN, b"a" * (BYTES_PER_FRAGMENT - 1)) + frame(MORE) * 64) == 1008


def test_fragments_are_counted_anew_for_each_message() -> None:
    """And control frames between them are none."""
    raw = frame(BEGIN) + (frame(PING) + frame(MORE)) * 30 + frame(MORE) * 32 + frame(LAST)
    assert outcome(raw * 2) == (raw * 2, None)


@pytest.mark.parametrize("first", [PING, PONG])
def test_a_hundred_control_frames_pass_at_once_and_then_twenty_a_second(first: int) -> None:
    """The 101st is one too many; after half a second ten more may come."""
    gate = FrameGate()
    for now, count in ((1000.0, 100), (1000.5, 10), (1001.5, 20), (2000.0, 100)):
        gate.feed(frame(first) * count)
        assert len(drain(gate, now)) == 6 * count
        assert gate.refusal is None
    gate.feed(frame(first))
    assert drain(gate, 2000.04) == b""
    assert gate.refusal is not None
    assert gate.refusal.code == 1008


def test_a_close_passes_when_no_control_frame_is_left() -> None:
    """Whoever says goodbye is heard."""
    raw = frame(PING) * 100 + CLOSE_FRAME
    assert outcome(raw) == (raw, None)


# --- the end --------------------------------------------------------------------------------


def test_nothing_passes_behind_a_close() -> None:
    """Neither what came with it nor what comes later."""
    gate = FrameGate()
    assert outcome(CLOSE_FRAME + frame(TEXT, b"a"), frame(PING), gate=gate) == (CLOSE_FRAME, None)
    assert gate.peer_closed
    gate.closing()
    assert outcome(CLOSE_FRAME, gate=gate) == (b"", None)


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
def test_once_we_have_closed_only_the_peers_close_passes(
    rubbish: bytes, block: int, refused: bool
) -> None:
    """Whatever comes before it, also what would have been refused, and nothing after it."""
    gate = FrameGate()
    if refused:
        assert code(frame(LAST, b"the reason"), gate) == 1002
        first = gate.refusal
    else:
        gate.closing()
        first = None
    raw = rubbish + CLOSE_FRAME + frame(TEXT, b"b") + frame(CLOSE, b"\x03\xe9")
    block = max(block, len(raw) // 3000)
    passed = b"".join(
        outcome(raw[at : at + block], gate=gate)[0] for at in range(0, len(raw), block)
    )
    assert passed == CLOSE_FRAME
    assert gate.refusal == first
    assert gate.peer_closed


def test_dropping_takes_turns_too() -> None:
    """A peer that does not stop sending does not hold the loop."""
    gate = FrameGate()
    gate.closing()
    gate.feed(frame(TEXT) * 1000 + CLOSE_FRAME)
    turns = 0
    while not (passed := gate.take(0)):
        assert gate.pending
        turns += 1
    assert passed == CLOSE_FRAME
    assert 1000 // 128 <= turns <= 1000 // 128 + 1


def test_a_frame_of_which_half_has_passed_passes_whole() -> None:
    """Otherwise the library would take the peer's Close for payload."""
    gate = FrameGate()
    raw = frame(BEGIN, b"a" * 1000)
    gate.feed(raw[:400])
    assert drain(gate) == raw[:400]
    gate.closing()
    gate.feed(raw[400:700])
    assert drain(gate) == raw[400:700]
    gate.feed(raw[700:] + frame(LAST, b"b") + CLOSE_FRAME)
    assert drain(gate) == raw[700:] + CLOSE_FRAME


def test_what_was_fed_and_not_taken_when_we_close_is_dropped() -> None:
    """A message that waited for its turn, and half a Ping."""
    gate = FrameGate(max_frames_per_turn=1)
    gate.feed(frame(TEXT, b"a") + frame(TEXT, b"b"))
    assert gate.take(0) == frame(TEXT, b"a")
    gate.closing()
    assert drain(gate) == b""
    gate.feed(frame(PING, b"abc")[:5])
    assert drain(gate) == b""
    gate.feed(frame(PING, b"abc")[5:] + CLOSE_FRAME)
    assert drain(gate) == CLOSE_FRAME


# --- how long a message is open -------------------------------------------------------------


def test_a_message_is_open_from_its_first_header_to_its_last_byte() -> None:
    """With the time at which it began; a control frame in between is no end of it."""
    gate = FrameGate()
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
        (10.0, frame(BEGIN), 10.0),
    ]
    for now, raw, since in script:
        gate.feed(raw)
        drain(gate, now)
        assert gate.message_since == since, now
        assert gate.message_open == (since is not None)
    gate.closing()
    assert not gate.message_open


def test_the_bytes_of_an_open_message_are_counted_until_it_ends() -> None:
    """Payload only, over its fragments, as far as it has passed."""
    gate = FrameGate()
    whole, more = frame(BINARY, b"a" * 1000), frame(MORE, b"b" * 50)
    for raw, held in (
        *[(whole[:508], 500), (whole[508:], 0), (frame(TEXT, b"abc"), 0)],
        *[(frame(BEGIN, b"a" * 200), 200), (more[:26], 220), (more[26:] + frame(PING, b"x"), 250)],
        *[(frame(LAST, b"c") + frame(BEGIN, b"d"), 1), (frame(LAST), 0)],
    ):
        gate.feed(raw)
        drain(gate)
        assert gate.open_bytes == held


# --- properties -----------------------------------------------------------------------------


def control() -> SearchStrategy[list[bytes]]:
    """A few Pings and Pongs."""
    one = st.builds(frame, st.sampled_from([PING, PONG]), st.binary(max_size=10))
    return st.lists(one, max_size=2)


@st.composite
def messages(draw: st.DrawFn) -> list[tuple[int, list[bytes], list[bytes]]]:
    """What a client may say: opcode, fragments, and a control frame or two behind each fragment."""
    said = []
    for _ in range(draw(st.integers(0, 5))):
        opcode = draw(st.sampled_from([1, 2]))
        piece = st.text(max_size=40).map(str.encode) if opcode == 1 else st.binary(max_size=300)
        said.append((opcode, draw(st.lists(piece, min_size=1, max_size=4)), draw(control())))
    return said


def wire(said: list[tuple[int, list[bytes], list[bytes]]]) -> bytes:
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


def events(pieces: list[bytes]) -> list[Event]:
    """What the library makes of *pieces*."""
    library = Connection(ConnectionType.SERVER)
    found: list[Event] = []
    for piece in pieces:
        library.receive_data(piece)
        found += library.events()
    return found


@given(st.data(), any_frames())
def test_any_split_passes_the_same_bytes_and_refuses_the_same(
    data: st.DataObject, raw: bytes
) -> None:
    """Only where the last frame ends is not yet known may bytes wait for more."""
    gate, whole = FrameGate(), FrameGate()
    assert outcome(*data.draw(chunked(raw)), gate=gate) == outcome(raw, gate=whole)
    assert gate.message_open == whole.message_open
    assert gate.peer_closed == whole.peer_closed
    assert not gate.pending
    assert not whole.pending


@given(st.data(), messages())
def test_a_legal_stream_passes_verbatim_and_the_library_understands_it(
    data: st.DataObject, said: list[tuple[int, list[bytes], list[bytes]]]
) -> None:
    """The same messages come out behind the gate as went in before it."""
    gate = FrameGate(max_frames_per_turn=data.draw(st.integers(1, 10)))
    raw = wire(said)
    portions: list[bytes] = []
    for piece in data.draw(chunked(raw)):
        gate.feed(piece)
        while True:
            portions.append(bytes(gate.take(0)))
            if not gate.pending:
                break
    assert b"".join(portions) == raw
    assert gate.refusal is None
    assert not gate.message_open
    heard: list[tuple[int, bytes]] = []
    body = b""
    for event in events(portions):
        assert isinstance(event, Message | Ping | Pong)
        if isinstance(event, Message):
            text = isinstance(event, TextMessage)
            body += event.data.encode() if text else bytes(event.data)
            if event.message_finished:
                heard.append((1 if text else 2, body))
                body = b""
    assert heard == [(opcode, b"".join(pieces)) for opcode, pieces, _ in said]


def framing_fault(raw: bytes) -> bool:
    """Whether the library refuses *raw* for its frame headers, up to the first Close."""
    decoder = FrameDecoder(client=False)
    decoder.receive_bytes(raw)
    try:
        while (found := decoder.process_buffer()) is not None:
            if found.opcode is Opcode.CLOSE:
                break
    except ParseFailed:
        return True
    return False


@given(any_frames())
def test_the_gate_is_at_least_as_strict_as_the_library(raw: bytes) -> None:
    """What passes the library takes; what it would not take is refused."""
    passed, _ = outcome(raw)
    assert not framing_fault(passed)
    if framing_fault(raw):
        # The gate reads whole headers: bytes behind the last one complete it.
        assert outcome(raw + bytes(14))[1] is not None


@given(any_frames(), st.integers(0, 20))
def test_whenever_we_close_the_library_stays_in_step(raw: bytes, turn: int) -> None:
    """What passes ends where a frame ends, once the peer's Close has passed."""
    gate = FrameGate(max_frames_per_turn=3)
    passed = b""
    for at in range(0, len(raw), 8):
        if at == turn * 8:
            gate.closing()
        gate.feed(raw[at : at + 8])
        passed += drain(gate)
    assert not framing_fault(passed)
    if gate.peer_closed:
        decoder = FrameDecoder(client=False)
        decoder.receive_bytes(passed)
        opcodes = []
        while (found := decoder.process_buffer()) is not None:
            opcodes.append(found.opcode)
        assert opcodes[-1] is Opcode.CLOSE
        assert len(decoder.buffer) == 0
