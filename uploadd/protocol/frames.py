"""RFC 6455 frame headers, and nothing else: what one client may say is judged before it is read.

A frame is judged at its header, before a byte of its payload counts.  What became of it, payloads
and messages, is ``framereader.py``; the frames that we say are ``framewriter.py``.

A control frame is judged when it is whole (at most 131 bytes are waited for): otherwise a Ping
begun before our Close would end, and be answered, after it.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from uploadd.errors import BadMessage

Bytes = bytes | bytearray | memoryview

TEXT_LIMIT: Final = 8 * 1024  # bytes in a text message
BINARY_LIMIT: Final = 1024 * 1024 + 24  # bytes in a binary one: the largest chunk, its header
FREE_FRAGMENTS: Final = 64  # fragments that any message may have,
BYTES_PER_FRAGMENT: Final = 4096  # and the payload that earns it one more
CONTROL_LIMIT: Final = 125  # payload bytes in a control frame (5.5)
CONTROL_RATE, CONTROL_BURST = 20.0, 100  # control frames a second, and at once
HEADER_LIMIT: Final = 14  # bytes of the longest header, mask included

PROTOCOL_ERROR, NOT_UTF8, POLICY, TOO_BIG = 1002, 1007, 1008, 1009  # close codes (7.4.1)


_CODES: Final = frozenset({*range(1000, 1004), *range(1007, 1015), *range(3000, 5000)})


class Refusal(NamedTuple):
    """Why we close, as it goes into our Close frame."""

    code: int
    reason: str

    @property
    def error(self) -> BadMessage:
        """The same, as it goes into the log."""
        return BadMessage(f"{self.reason} (closed with {self.code})")


class Frame(NamedTuple):
    """A frame that was admitted.  Of a continuation it is the opcode of its message."""

    opcode: int
    ends: bool
    """Whether a message ends with it."""
    header: int
    """Bytes of the header; the last four are the mask."""
    length: int
    """Bytes of the payload."""


class Ping(NamedTuple):
    """The peer asks for a sign of life: a Pong with the same payload."""

    payload: bytes


class Close(NamedTuple):
    """The peer has said its last word."""

    code: int | None
    """None when it gave none."""


class _First(NamedTuple):
    """What the first byte of a frame says."""

    opcode: int
    starts: bool
    ends: bool


CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10  # opcodes (5.2)

# Every first byte that may come: FIN, three reserved bits, opcode (5.2).
#   byte          opcode       starts  ends a message
_FIRSTS: Final = {
    0x00: _First(CONTINUATION, False,  False),
    0x80: _First(CONTINUATION, False,  True),
    0x01: _First(TEXT,         True,   False),
    0x81: _First(TEXT,         True,   True),
    0x02: _First(BINARY,       True,   False),
    0x82: _First(BINARY,       True,   True),
    0x88: _First(CLOSE,        False,  False),
    0x89: _First(PING,         False,  False),
    0x8A: _First(PONG,         False,  False),
}  # fmt: skip


class Judge:
    """Judges the headers of one client's frames, in their order."""

    def __init__(self, max_text: int = TEXT_LIMIT, max_binary: int = BINARY_LIMIT) -> None:
        self.max_text = max_text
        self.max_binary = max_binary
        """May be set at any time; a message that began under a larger limit keeps that one."""
        self.opcode = 0
        """Of the message whose last frame has not come, 0 for none."""
        self._control, self._control_at = float(CONTROL_BURST), 0.0  # may come at that time
        self._fragments = self._received = self._limit = 0

    def judge(self, data: Bytes, at: int, end: int, now: float) -> Frame | Refusal | None:
        """What may be done with the frame at *at* of *data*, of which [at, end) is here.

        None while too little of it is here; *now* in seconds, monotonic.
        """
        room = end - at
        if room < 2:
            return None
        first, second = _FIRSTS.get(data[at]), data[at + 1]
        if first is None:
            return Refusal(PROTOCOL_ERROR, _fault(data[at]))
        if second < 0x80:
            return Refusal(PROTOCOL_ERROR, "a client must mask its frames")
        if first.opcode >= CLOSE:
            return self._judge_control(first.opcode, second - 0x80, room, now)
        if first.starts == bool(self.opcode):
            what = "a new message inside another" if first.starts else "nothing to continue"
            return Refusal(PROTOCOL_ERROR, what)
        measured = measure(data, at, end)
        if measured is None:
            return None
        header, length = measured
        if (header == 8 and length < 126) or (header == 14 and not 0xFFFF < length < 1 << 63):
            return Refusal(PROTOCOL_ERROR, "a length in a form that it must not have")
        return self._admit(first, header, length)

    def _judge_control(
        self, opcode: int, length: int, room: int, now: float
    ) -> Frame | Refusal | None:
        """The same for a control frame, which passes only whole."""
        if length > CONTROL_LIMIT:
            return Refusal(PROTOCOL_ERROR, "a control frame of more than 125 bytes")
        if room < 6 + length:
            return None
        if opcode != CLOSE:  # whoever says goodbye is heard
            earned = (now - self._control_at) * CONTROL_RATE
            self._control = min(self._control + earned, float(CONTROL_BURST))
            self._control_at = now
            if self._control < 1:
                return Refusal(POLICY, "too many control frames")
            self._control -= 1
        return Frame(opcode, False, 6, length)

    def _admit(self, first: _First, header: int, length: int) -> Frame | Refusal:
        """The same for a data frame, counted into its message."""
        opcode = first.opcode or self.opcode
        if first.starts:
            self._limit = self.max_text if opcode == TEXT else self.max_binary
            self._fragments = self._received = 0
        elif opcode == BINARY:
            self._limit = max(self._limit, self.max_binary)
        self._fragments += 1
        if self._fragments > FREE_FRAGMENTS + self._received // BYTES_PER_FRAGMENT:
            return Refusal(POLICY, "too many fragments for the size of the message")
        self._received += length
        if self._received > self._limit:
            return Refusal(TOO_BIG, f"this message may have {self._limit} bytes")
        self.opcode = 0 if first.ends else opcode
        return Frame(opcode, first.ends, header, length)


def measure(data: Bytes, at: int, end: int) -> tuple[int, int] | None:
    """Bytes of header and of payload of the frame at *at*, legal or not; None while cut off."""
    if end - at < 2:
        return None
    second = data[at + 1]
    mask = 4 if second >= 0x80 else 0
    short = second & 0x7F
    extra = 0 if short < 126 else 2 if short == 126 else 8
    if end - at < 2 + extra + mask:
        return None
    length = int.from_bytes(data[at + 2 : at + 2 + extra], "big") if extra else short
    return 2 + extra + mask, length


def is_close(data: Bytes, at: int) -> bool:
    """Whether the frame at *at*, two bytes of which are here, is a Close as it must be."""
    return data[at] == 0x88 and 0x80 <= data[at + 1] <= 0xFD


def read_close(payload: bytes) -> Close | Refusal:
    """What a Close says (5.5.1, 7.4)."""
    if not payload:
        return Close(None)
    code = int.from_bytes(payload[:2], "big")
    if len(payload) < 2 or code not in _CODES:
        return Refusal(PROTOCOL_ERROR, "a Close with a code that must not be there")
    try:
        payload[2:].decode()
    except UnicodeDecodeError:
        return Refusal(NOT_UTF8, "a Close whose reason is not UTF-8")
    return Close(code)


def _fault(first: int) -> str:
    """What is wrong with a first byte that is not in the table."""
    if first & 0x70:
        return "a reserved bit is set, and no extension was agreed on"
    if first | 0x80 in _FIRSTS:
        return "a control frame must not be fragmented"
    return "a reserved opcode"
