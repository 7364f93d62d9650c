"""Frames: what is legal is heard; the rest is refused at its header."""

from __future__ import annotations

import pytest

from tests.frames import (
    BEGIN,
    BINARY,
    CLOSE,
    CLOSE_FRAME,
    CLOSED,
    LAST,
    MORE,
    PING,
    PONG,
    TEXT,
    code,
    drain,
    feed,
    frame,
    header,
    new_reader,
    outcome,
)
from uploadd.protocol.frames import (
    BINARY_LIMIT,
    BYTES_PER_FRAGMENT,
    FREE_FRAGMENTS,
    TEXT_LIMIT,
    Ping,
)

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
    """Behind good frames, which are heard, and in any state of the message before it."""
    heard, refusal = outcome(frame(TEXT, b"fine") + frame(PING) + raw)
    assert heard[:2] == ["fine", Ping(b"")]
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
    """Of the payload nothing was read, and there is no room made for it."""
    assert outcome(header(first, limit)) == ([], None)
    for size in (limit + 1, 1 << 40, (1 << 63) - 1):
        reader = new_reader()
        heard, refusal = outcome(header(first, size), reader=reader)
        assert heard == []
        assert len(reader.room) == 0
        assert refusal is not None
        assert refusal.code == 1009
        assert str(limit) in refusal.reason


@pytest.mark.parametrize("first", [0x01, 0x02])
def test_the_sum_over_fragments_counts(first: int) -> None:
    """It is refused at the header of the fragment that would exceed it."""
    raw = frame(first, b"a" * 60) + frame(MORE, b"a" * 39)
    assert code(raw + frame(LAST, b"a"), new_reader(100, 100)) == 0
    heard, refusal = outcome(raw + header(LAST, 2), reader=new_reader(100, 100))
    assert heard == []
    assert refusal is not None
    assert refusal.code == 1009


@pytest.mark.parametrize(("sizes", "refused"), [([0, 124, 125], False), ([5, 126], True)])
def test_small_limits_hold_for_small_messages(sizes: list[int], refused: bool) -> None:
    """Also where a message is too short to be looked at twice."""
    for first in (TEXT, BINARY):
        raw = b"".join(frame(first, b"a" * size) for size in sizes)
        assert code(raw, new_reader(125, 125)) == (1009 if refused else 0)
    assert code(frame(TEXT, b"abc"), new_reader(2, 1000)) == 1009
    assert code(frame(BINARY, b"abc"), new_reader(1000, 2)) == 1009


def test_a_message_keeps_the_larger_limit_it_began_under() -> None:
    """The limit follows the number of sessions; a message under way is not cut for that."""
    reader = new_reader(max_binary=1000)
    feed(reader, frame(BEGIN, b"a" * 500))
    reader.judge.max_binary = 600
    assert feed(reader, frame(LAST, b"a" * 500)) == [b"a" * 1000]
    assert reader.refusal is None
    assert code(header(BINARY, 601), reader) == 1009


def test_a_message_profits_from_a_limit_that_was_raised() -> None:
    """Also when it had begun; text has a limit of its own."""
    for first, refused in ((0x02, 0), (0x01, 1009)):
        reader = new_reader(600, 600)
        feed(reader, frame(first, b"a" * 500))
        reader.judge.max_binary = 1000
        assert code(frame(LAST, b"a" * 500), reader) == refused


def test_64_fragments_are_free_and_each_4_kib_earn_one_more() -> None:
    """Of payload that was received before."""
    free = frame(BEGIN) + frame(MORE) * (FREE_FRAGMENTS - 1)
    assert outcome(free) == ([], None)
    assert code(free + frame(LAST, b"a")) == 1008
    for earned in (1, 7):
        paid = frame(BEGIN, b"a" * BYTES_PER_FRAGMENT * earned) + frame(MORE) * 63
        assert code(paid + frame(MORE) * earned) == 0
        assert code(paid + frame(MORE) * (earned + 1)) == 1008
    assert code(frame(BEGIN, b"a" * (BYTES_PER_FRAGMENT - 1)) + frame(MORE) * 64) == 1008


def test_fragments_are_counted_anew_for_each_message() -> None:
    """And control frames between them are none."""
    raw = frame(BEGIN) + (frame(PING) + frame(MORE)) * 30 + frame(MORE) * 32 + frame(LAST)
    assert outcome(raw * 2) == (([Ping(b"")] * 30 + [b""]) * 2, None)


@pytest.mark.parametrize("first", [PING, PONG])
def test_a_hundred_control_frames_pass_at_once_and_then_twenty_a_second(first: int) -> None:
    """The 101st is one too many; after half a second ten more may come."""
    reader = new_reader()
    for now, count in ((1000.0, 100), (1000.5, 10), (1001.5, 20), (2000.0, 100)):
        heard = feed(reader, frame(first) * count, now=now)
        assert heard == [Ping(b"")] * count * (first == PING)
        assert reader.refusal is None
    assert feed(reader, frame(first), now=2000.04) == []
    assert reader.refusal is not None
    assert reader.refusal.code == 1008


def test_a_close_is_heard_when_no_control_frame_is_left() -> None:
    """Whoever says goodbye is heard."""
    assert outcome(frame(PING) * 100 + CLOSE_FRAME) == ([Ping(b"")] * 100 + [CLOSED], None)


def test_a_control_frame_is_judged_when_it_is_whole() -> None:
    """So that none can begin before our Close and end after it."""
    ping = frame(PING, b"p" * 125)
    reader = new_reader()
    assert feed(reader, frame(BINARY, b"abc") + ping[:-1]) == [b"abc"]
    assert feed(reader, ping[-1:]) == [Ping(b"p" * 125)]
    assert drain(reader) == []


# --- Close ----------------------------------------------------------------------------------------

GOOD_CODES = [1000, 1001, 1002, 1003, 1007, 1011, 1012, 1014, 3000, 3999, 4000, 4999]
BAD_CODES = [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535]


@pytest.mark.parametrize("number", GOOD_CODES)
def test_the_code_of_a_close_is_heard(number: int) -> None:
    """With a reason and without."""
    for reason in (b"", "Grüße".encode(), b"r" * 123):
        [close] = outcome(frame(CLOSE, number.to_bytes(2, "big") + reason))[0]
        assert close == (number,)


def test_a_close_need_not_say_why() -> None:
    """Then it has no code."""
    assert outcome(frame(CLOSE)) == ([(None,)], None)


@pytest.mark.parametrize(
    ("payload", "refused"),
    [
        *[(number.to_bytes(2, "big"), 1002) for number in BAD_CODES],
        *[(b"\x03", 1002), (b"\x03\xe8\xff", 1007), (b"\x03\xe8\xed\xa0\x80", 1007)],
    ],
)
def test_a_close_that_must_not_be_is_refused_and_is_a_close_all_the_same(
    payload: bytes, refused: int
) -> None:
    """The peer is told why, and nothing more is awaited from it."""
    reader = new_reader()
    heard, refusal = outcome(frame(CLOSE, payload) + frame(TEXT, b"more"), reader=reader)
    assert heard == []
    assert refusal is not None
    assert refusal.code == refused
    assert reader.peer_closed
