"""RFC 6455 frame headers, and nothing else: the gate in front of the WebSocket library.

The gate refuses a frame at its header, before the library has buffered a byte of it, and hands
over a bounded number of frames at a time.  Payloads are counted, never looked at.  What passes
is verbatim, and a slice of what was fed: no payload byte is copied here, except those that
share a read with the rest of a header that was cut in two.

A control frame passes when it is whole (at most 131 bytes are held back): otherwise a Ping
begun before our Close would end, and be answered, after it.
"""

from __future__ import annotations

from enum import Enum
from typing import Final, NamedTuple

Bytes = bytes | bytearray | memoryview

TEXT_LIMIT: Final = 8 * 1024  # bytes in a text message
BINARY_LIMIT: Final = 1024 * 1024 + 24  # bytes in a binary one: the largest chunk, its header
FREE_FRAGMENTS: Final = 64  # fragments that any message may have,
BYTES_PER_FRAGMENT: Final = 4096  # and the payload that earns it one more
CONTROL_LIMIT: Final = 125  # payload bytes in a control frame (5.5)
CONTROL_RATE, CONTROL_BURST = 20.0, 100.0  # control frames a second, and at once

PROTOCOL_ERROR, NOT_UTF8, POLICY, TOO_BIG = 1002, 1007, 1008, 1009  # close codes (7.4.1)


class Refusal(NamedTuple):
    """Why the gate closed, as it goes into our Close frame."""

    code: int
    reason: str


class _Frame(NamedTuple):
    """What the first byte of a frame says."""

    opcode: int
    starts: bool
    ends: bool


_CONTINUATION, _TEXT, _BINARY, _CLOSE, _PING, _PONG = 0, 1, 2, 8, 9, 10

# Every first byte that may come: FIN, three reserved bits, opcode (5.2).
#   byte          opcode        starts  ends a message
_FRAMES: Final = {
    0x00: _Frame(_CONTINUATION, False,  False),
    0x80: _Frame(_CONTINUATION, False,  True),
    0x01: _Frame(_TEXT,         True,   False),
    0x81: _Frame(_TEXT,         True,   True),
    0x02: _Frame(_BINARY,       True,   False),
    0x82: _Frame(_BINARY,       True,   True),
    0x88: _Frame(_CLOSE,        False,  False),
    0x89: _Frame(_PING,         False,  False),
    0x8A: _Frame(_PONG,         False,  False),
}  # fmt: skip


class _State(Enum):
    OPEN = "frames pass"
    CLOSING = "only the peer's Close passes"
    CLOSED = "nothing passes"


class FrameGate:
    """Judges one client's frames: ``feed`` what was read, then ``take`` until not ``pending``."""

    def __init__(
        self,
        max_text: int = TEXT_LIMIT,
        max_binary: int = BINARY_LIMIT,
        *,
        max_frames_per_turn: int = 128,
    ) -> None:
        self.max_text = max_text
        self.max_binary = max_binary
        """May be set at any time; a message that began under a larger limit keeps that one."""
        self.refusal: Refusal | None = None
        """Set by ``take`` when something was refused; what came before it has passed."""
        self._max_frames = max_frames_per_turn
        self._control, self._control_at = CONTROL_BURST, 0.0  # may come at that time
        self._state = _State.OPEN
        # What was fed and neither taken nor dropped is _data[_at:_end].
        self._data: Bytes = b""
        self._at = self._end = 0
        self._starved = False  # what is left is the beginning of something: only more bytes help
        self._left = 0  # payload of a data frame that has passed only in part
        self._skip = 0  # bytes of a frame that is being dropped
        self._opcode = 0  # of the message whose last frame has not begun, 0 for none
        self._fragments = self._received = self._limit = 0
        self._since = 0.0

    @property
    def pending(self) -> bool:
        """Whether another ``take`` gets on without a ``feed``; let other tasks run in between."""
        return self._at < self._end and not self._starved

    @property
    def message_open(self) -> bool:
        """Whether a message has begun and not ended."""
        return self._state is _State.OPEN and (self._opcode != 0 or self._left > 0)

    @property
    def open_bytes(self) -> int:
        """Payload bytes of the open message that have passed: the library holds them."""
        return self._received - self._left if self.message_open else 0

    @property
    def message_since(self) -> float | None:
        """The time of the ``take`` in which the open message began; None when none is open."""
        return self._since if self.message_open else None

    @property
    def peer_closed(self) -> bool:
        """Whether the peer's Close has passed; nothing passes after it."""
        return self._state is _State.CLOSED

    def closing(self) -> None:
        """We have sent Close: only the rest of a frame begun and the peer's Close still pass."""
        if self._state is _State.OPEN:
            self._state = _State.CLOSING
            self._starved = False

    def feed(self, data: Bytes) -> None:
        """Add what was read; it is not copied and must not change until it was taken."""
        if self._state is _State.CLOSED:
            return
        if self._at < self._end:
            data = b"".join((memoryview(self._data)[self._at : self._end], data))
        self._data, self._at, self._end = data, 0, len(data)
        self._starved = False

    def take(self, now: float) -> Bytes:
        """The next bytes that may pass at *now* (seconds, monotonic).

        Empty when there are none: feed, or, while ``pending`` (frames are being dropped, a
        bounded number a turn as well), take again.
        """
        start = self._at
        at = start + min(self._left, self._end - start)
        self._left -= at - start
        if self._state is _State.OPEN:
            at = self._scan(at, now)
        elif at == start:
            return self._discard()
        return self._cut(start, at)

    def _cut(self, start: int, at: int) -> Bytes:
        """Hand over [start, at) of the data and keep no more alive than what is left."""
        data, end = self._data, self._end
        out = data if at - start == len(data) else memoryview(data)[start:at]
        if at == end or self._state is _State.CLOSED:
            self._data, self._at, self._end = b"", 0, 0
        elif self._starved:
            self._data, self._at, self._end = bytes(memoryview(data)[at:end]), 0, end - at
        else:
            self._at = at
        return out

    def _scan(self, at: int, now: float) -> int:
        """Where the frames end that may pass this turn."""
        data, end = self._data, self._end
        roomy = min(self.max_text, self.max_binary) >= 125
        quick = roomy and not self._opcode
        for _ in range(self._max_frames):
            if at >= end:
                break
            # A short message in one frame, all of it here: nothing to judge or to remember.
            if quick and at + 6 <= end:
                first, second = data[at], data[at + 1]
                after = at + second - 122
                if (first == 0x82 or first == 0x81) and 0x80 <= second <= 0xFD and after <= end:
                    at = after
                    continue
            size = self._enter(at, now)
            if not size:
                self._starved = self._state is _State.OPEN
                break
            at += size
            if self._state is not _State.OPEN:
                break
            quick = roomy and not self._opcode
        if at > end:
            self._left = at - end
            at = end
        return at

    def _enter(self, at: int, now: float) -> int:
        """Bytes of the frame at *at*, header and payload; 0 if it is refused or not here yet."""
        data, room = self._data, self._end - at
        if room < 2:
            return 0
        frame = _FRAMES.get(data[at])
        if frame is None:
            return self._refuse(PROTOCOL_ERROR, _fault(data[at]))
        if data[at + 1] < 0x80:
            return self._refuse(PROTOCOL_ERROR, "a client must mask its frames")
        if frame.opcode >= _CLOSE:
            return self._enter_control(frame.opcode, data[at + 1] - 0x80, room, now)
        if frame.starts == bool(self._opcode):
            what = "a new message inside another" if frame.starts else "nothing to continue"
            return self._refuse(PROTOCOL_ERROR, what)
        measured = _measure(data, at, self._end)
        if measured is None:
            return 0
        header, payload = measured
        if (header == 8 and payload < 126) or (header == 14 and not 0xFFFF < payload < 1 << 63):
            return self._refuse(PROTOCOL_ERROR, "a length in a form that it must not have")
        return self._admit(frame, header, payload, now)

    def _enter_control(self, opcode: int, payload: int, room: int, now: float) -> int:
        """The same for a control frame, which passes only whole."""
        if payload > CONTROL_LIMIT:
            return self._refuse(PROTOCOL_ERROR, "a control frame of more than 125 bytes")
        if room < 6 + payload:
            return 0
        if opcode == _CLOSE:
            self._state = _State.CLOSED
            return 6 + payload
        earned = (now - self._control_at) * CONTROL_RATE
        self._control = min(self._control + earned, CONTROL_BURST)
        self._control_at = now
        if self._control < 1:
            return self._refuse(POLICY, "too many control frames")
        self._control -= 1
        return 6 + payload

    def _admit(self, frame: _Frame, header: int, payload: int, now: float) -> int:
        """The same for a data frame, counted into its message."""
        if frame.starts:
            self._opcode = frame.opcode
            self._limit = self.max_text if frame.opcode == _TEXT else self.max_binary
            self._fragments = self._received = 0
            self._since = now
        elif self._opcode == _BINARY:
            self._limit = max(self._limit, self.max_binary)
        self._fragments += 1
        if self._fragments > FREE_FRAGMENTS + self._received // BYTES_PER_FRAGMENT:
            return self._refuse(POLICY, "too many fragments for the size of the message")
        self._received += payload
        if self._received > self._limit:
            return self._refuse(TOO_BIG, f"this message may have {self._limit} bytes")
        if frame.ends:
            self._opcode = 0
        return header + payload

    def _refuse(self, code: int, reason: str) -> int:
        self.refusal = Refusal(code, reason)
        self._state = _State.CLOSING
        return 0

    def _discard(self) -> Bytes:
        """Drop frames up to the peer's Close, and pass that if it is a legal one."""
        for _ in range(self._max_frames):
            step = min(self._skip, self._end - self._at)
            self._skip -= step
            self._at += step
            at = self._at
            measured = _measure(self._data, at, self._end)
            if measured is None:
                break
            header, payload = measured
            if self._data[at] != 0x88 or not 0x80 <= self._data[at + 1] <= 0xFD:
                self._skip = header + payload
            elif header + payload > self._end - at:
                break
            else:
                self._state = _State.CLOSED
                return self._cut(at, at + header + payload)
        else:
            return b""
        self._starved = True
        return self._cut(self._at, self._at)


def _measure(data: Bytes, at: int, end: int) -> tuple[int, int] | None:
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


def _fault(first: int) -> str:
    """What is wrong with a first byte that is not in the table."""
    if first & 0x70:
        return "a reserved bit is set, and no extension was agreed on"
    if first | 0x80 in _FRAMES:
        return "a control frame must not be fragmented"
    return "a reserved opcode"
