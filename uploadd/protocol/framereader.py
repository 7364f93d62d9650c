"""From the bytes of one client to its messages (RFC 6455), with as few copies as can be.

What was read is looked at where it lies.  A message that lies there whole, in one frame, is
unmasked into its final bytes: that is the only copy.  The rest of a binary frame that has begun is
best read straight into `FrameReader.room`, from where it is unmasked in one go.

Rule 1: what is heard does not depend on how the bytes were cut.

Rule 2: a turn takes a bounded number of frames, dropped ones included.
"""

from __future__ import annotations

import codecs
from enum import Enum
from typing import Final

from uploadd.protocol.frames import (
    BINARY,
    CLOSE,
    NOT_UTF8,
    PING,
    Bytes,
    Close,
    Frame,
    Judge,
    Ping,
    Refusal,
    is_close,
    measure,
    read_close,
)
from uploadd.protocol.masking import apply_mask

FIRST_ROOM: Final = 68 * 1024
"""Bytes of memory that the header of a large frame earns: a chunk of 64 KiB; then as much again
as has come."""
_Decoder: Final = codecs.getincrementaldecoder("utf-8")
_NOTHING: Final = memoryview(b"")
_NOWHERE: Final = memoryview(bytearray())

Heard = str | bytes | Ping | Close


class _State(Enum):
    OPEN = "all is heard"
    CLOSING = "nothing is heard, and the peer's Close is waited for"
    CLOSED = "nothing is heard, and nothing more comes"


class FrameReader:
    """``feed`` what was read, then ``take`` until not ``pending``.  *judge* says what is legal."""

    def __init__(self, judge: Judge, *, max_frames_per_turn: int = 128) -> None:
        self.judge = judge
        self.refusal: Refusal | None = None
        """Set by ``take`` when something was refused; what came before it was heard."""
        self._max_frames = max_frames_per_turn
        self._state = _State.OPEN
        # What was fed and neither taken nor dropped is _data[_at:_end].
        self._data = _NOTHING
        self._at = self._end = 0
        self._starved = False  # what is left is the beginning of something: only more bytes help
        # The data frame that has begun and not ended:
        self._frame: Frame | None = None
        self._key = b""
        self._left = 0  # bytes of it that have not come
        self._body = _NOTHING  # of a binary one, masked, as far as it has come
        # The message of it:
        self._pieces: list[bytes] = []
        self._texts: list[str] = []
        self._decoder = _Decoder()
        self._taken = 0  # payload bytes
        self._since = 0.0
        self._skip = 0  # bytes of a frame that is being dropped

    @property
    def pending(self) -> bool:
        """Whether another ``take`` gets on without a ``feed``; let other tasks run in between."""
        return self._at < self._end and not self._starved

    @property
    def message_since(self) -> float | None:
        """The time of the ``take`` in which the open message began; None when none is open."""
        open = self._state is _State.OPEN and (self._frame is not None or self.judge.opcode)
        return self._since if open else None

    @property
    def open_bytes(self) -> int:
        """Payload bytes of the open message that have come: they are held here."""
        return 0 if self.message_since is None else self._taken

    @property
    def peer_closed(self) -> bool:
        """Whether the peer's Close has come; nothing is heard behind it."""
        return self._state is _State.CLOSED

    def closing(self) -> None:
        """We say Close: from now on all is dropped, up to the peer's."""
        if self._state is _State.OPEN:
            self._state = _State.CLOSING
            self._skip, self._left, self._frame = self._left, 0, None
            self._body, self._starved = _NOTHING, False
            self._pieces.clear()
            self._texts.clear()

    def refuse(self, refusal: Refusal) -> bool:
        """End it because of *refusal*; True."""
        self.refusal = refusal
        self.closing()
        return True

    def rest(self) -> None:
        """The peer is quiet: keep no memory for what it may say next."""
        if self._frame is None:
            self._body = _NOTHING

    # --- in -----------------------------------------------------------------------------------

    @property
    def room(self) -> memoryview:
        """Where the next bytes of the binary frame that has begun go; mostly nowhere."""
        frame = self._frame
        if frame is None or frame.opcode != BINARY:
            return _NOWHERE
        come = frame.length - self._left
        return self._roomy(come)[come : frame.length]

    @property
    def memory(self) -> int:
        """Bytes that are kept for large frames: as large as the largest that came in parts."""
        return len(self._body)

    def _roomy(self, come: int) -> memoryview:
        """The body, of which *come* bytes have come, with room for more."""
        assert self._frame is not None
        size = len(self._body)
        if come >= size < self._frame.length:
            grown = memoryview(bytearray(min(max(2 * size, FIRST_ROOM), self._frame.length)))
            grown[:come] = self._body[:come]
            self._body = grown
        return self._body

    def feed(self, data: Bytes, ahead: int = 0) -> None:
        """Add what was read: *ahead* bytes lie in `room` already, *data* is what came behind.

        *data* may change once ``take`` was called.
        """
        self._left -= ahead
        self._taken += ahead
        if self._at < self._end:
            data = b"".join((self._data[self._at : self._end], data))
        self._data, self._at, self._end = memoryview(data), 0, len(data)
        self._starved = False

    # --- out ----------------------------------------------------------------------------------

    def take(self, now: float) -> list[Heard]:
        """What was said, as far as it is here, at *now* (seconds, monotonic)."""
        heard: list[Heard] = []
        for _ in range(self._max_frames):
            if not self._step(heard, now):
                self._starved = True
                break
        self._keep()
        return heard

    def _keep(self) -> None:
        """Keep what is left, and no more alive than that."""
        left = self._data[self._at : self._end] if self._at < self._end else _NOTHING
        if self._starved or not left.readonly:
            left = memoryview(bytes(left))
        self._data, self._at, self._end = left, 0, len(left)

    def _step(self, heard: list[Heard], now: float) -> bool:
        """Get on by a frame, or by what is here of it; False when only more bytes help."""
        if self._state is not _State.OPEN:
            return self._pass_over()
        frame = self._frame
        if frame is None:
            judged = self.judge.judge(self._data, self._at, self._end, now)
            if judged is None:
                return False
            if isinstance(judged, Refusal):
                return self.refuse(judged)
            frame = self._begin(judged, now)
        if frame.opcode >= CLOSE:
            return self._control(frame, heard)
        return self._binary(frame, heard) if frame.opcode == BINARY else self._text(frame, heard)

    def _begin(self, frame: Frame, now: float) -> Frame:
        """Go behind the header of *frame*."""
        self._at += frame.header
        self._key = bytes(self._data[self._at - 4 : self._at])
        if frame.opcode < CLOSE:
            if self._taken == 0 and not (self._pieces or self._texts):
                self._since = now
            self._frame, self._left = frame, frame.length
        return frame

    def _binary(self, frame: Frame, heard: list[Heard]) -> bool:
        start, count = self._at, min(self._left, self._end - self._at)
        if count == frame.length:  # all of it lies here: no copy but the unmasking
            masked = self._data[start : start + count]
        else:
            self._copy(frame, count)
            if self._left > count:
                self._pass(count)
                return False
            masked = self._body[: frame.length]
        self._pass(count)
        self._pieces.append(apply_mask(masked, self._key))
        self._frame = None
        if frame.ends:
            pieces, self._pieces, self._taken = self._pieces, [], 0
            heard.append(pieces[0] if len(pieces) == 1 else b"".join(pieces))
        return True

    def _copy(self, frame: Frame, count: int) -> None:
        """Put the next *count* bytes behind those that have come."""
        at, come = self._at, frame.length - self._left
        while count:
            room = self._roomy(come)[come : come + count]
            room[:] = self._data[at : at + len(room)]
            at, come, count = at + len(room), come + len(room), count - len(room)

    def _text(self, frame: Frame, heard: list[Heard]) -> bool:
        """Decode what is here of a text: what is not UTF-8 is refused before it has ended."""
        count = min(self._left, self._end - self._at)
        turn = (frame.length - self._left) % 4
        key = self._key[turn:] + self._key[:turn]
        piece = apply_mask(self._data[self._at : self._at + count], key)
        self._pass(count)
        whole = self._left == 0
        try:
            self._texts.append(self._decoder.decode(piece, whole and frame.ends))
        except UnicodeDecodeError:
            return self.refuse(Refusal(NOT_UTF8, "a text that is not UTF-8"))
        if not whole:
            return False
        self._frame = None
        if frame.ends:
            heard.append("".join(self._texts))
            self._texts.clear()
            self._taken = 0
        return True

    def _pass(self, count: int) -> None:
        self._at += count
        self._left -= count
        self._taken += count

    def _control(self, frame: Frame, heard: list[Heard]) -> bool:
        payload = apply_mask(self._data[self._at : self._at + frame.length], self._key)
        self._at += frame.length
        if frame.opcode == PING:
            heard.append(Ping(payload))
        elif frame.opcode == CLOSE:
            close = read_close(payload)
            if isinstance(close, Refusal):
                self.refuse(close)
            else:
                heard.append(close)
            self._end_all()
        return True

    def _end_all(self) -> None:
        self.closing()
        self._state, self._at = _State.CLOSED, self._end

    def _pass_over(self) -> bool:
        """Drop a frame; the peer's Close, if it is a legal one, is its end."""
        if self._state is _State.CLOSED:
            self._at = self._end
        step = min(self._skip, self._end - self._at)
        self._skip -= step
        self._at += step
        measured = measure(self._data, self._at, self._end)
        if measured is None:
            return False
        header, length = measured
        if not is_close(self._data, self._at):
            self._skip = header + length
            return True
        if header + length > self._end - self._at:
            return False
        self._end_all()
        return True
