"""The right to append to an upload."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from dataclasses import dataclass, field
from functools import partial
from typing import Final

import trio

from uploadd.errors import UploadError
from uploadd.protocol.upload import Run, Upload
from uploadd.tally import NO_WAY, Way

QUIET: Final = 1.0
"""Seconds without a byte after which a holder is not left alone by who means to go on; those in
which it waited for us do not count."""


@dataclass(slots=True, eq=False)
class Claim:
    """The exclusive right to append to an upload, until a newer one takes it.

    *on_stop* is called at most once, on the loop, when the holder must let go: it stops reading
    and releases the claim when nothing of it can be written any more.  *on_move* is called when
    the durable offset or the state of the upload has changed.  What they raise goes to *on_fault*
    and no further: the conversation of the holder ends, and nobody else notices.
    """

    upload: Upload
    on_stop: Callable[[UploadError], None]
    on_move: Callable[[], None]
    on_fault: Callable[[Exception], None]
    run: Run = field(default_factory=lambda: Run(0, -1))
    """What it appends; before `Uploads.settle` it accepts nothing."""
    heard: float = field(default_factory=trio.current_time)
    """When bytes last came, or could come again, by trio's clock."""
    settled: Callable[[], bool] = lambda: True
    """Whether all that is written is durable."""
    held_back: Callable[[], bool] = lambda: False
    """Whether nothing of the holder is read, for want of memory."""
    pulling: bool = False
    """Whether bytes are moving that `run` does not know of yet."""
    awaited: trio.Event | None = None
    """Somebody waits for the end of a step."""
    ended: UploadError | None = None
    released: trio.Event = field(default_factory=trio.Event)
    way: Way = NO_WAY
    """By which its bytes come."""
    most: int | None = None
    """Bytes of the largest upload that its holder may make of one of unknown length."""
    on_durable: Callable[[str, float], None] = lambda wire, seconds: None
    """Told how many seconds after they came bytes were durable."""
    _working: int = field(default=0, init=False)
    _came: tuple[int, float] | None = field(default=None, init=False)

    def bound(self, most: int | None) -> None:
        """Have it end at *most* bytes at the latest; before it is settled."""
        if most is not None and (self.most is None or most < self.most):
            self.most = most

    def stop(self, error: UploadError) -> None:
        """Tell the holder to let go, because of *error*; the first reason counts."""
        if self.ended is None and not self.released.is_set():
            self.ended = error
            self._call(partial(self.on_stop, error))

    def check(self) -> None:
        """Raise what it was stopped for, if it was."""
        if self.ended is not None:
            raise copy(self.ended)  # what is raised holds on to every frame, and those to us

    def let_go(self) -> None:
        """It is given back: its holder hears nothing more, and neither keeps the other alive."""
        self.released.set()
        self.caught_up()
        self.on_stop, self.on_move, self.held_back = _deaf, _still, _free

    def is_beyond(self, at: int) -> bool:
        """Whether bytes behind *at* are coming: whoever means to go on there is late."""
        here = self.run.received + self.pulling
        return self.ended is None and self.run.fence >= 0 and here > at and not self.quiet

    @property
    def quiet(self) -> bool:
        """Whether nothing has come for QUIET: it need not be left alone any more."""
        return not self._waits and trio.current_time() - self.heard >= QUIET

    @property
    def _waits(self) -> bool:
        """Whether the holder waits for us: to read, to write, to make durable, to end it."""
        return self._moves or self._working > 0 or not self.settled() or self.held_back()

    @property
    def _moves(self) -> bool:
        """Whether bytes are on their way into the file."""
        return self.pulling or self.run.received > self.run.written

    def working(self) -> Working:
        """While the block runs the holder waits for us."""
        return Working(self)

    def begin_work(self) -> None:
        """The holder waits for us until as many times `end_work` is called."""
        self._working += 1

    def end_work(self) -> None:
        """What it waited for is done."""
        self._working -= 1
        self.heard = trio.current_time()

    def came(self) -> None:
        """Bytes came, and `run` knows of them."""
        self.heard = trio.current_time()
        if self._came is None:  # of those behind it nobody is told: a sample is enough
            self._came = (self.run.received, self.heard)

    async def catch_up(self) -> None:
        """Wait until the bytes that are moving now are written: a step of them at most."""
        if self._moves:
            self.awaited = self.awaited or trio.Event()
            await self.awaited.wait()

    def caught_up(self) -> None:
        """A step is written, and `run` knows of it."""
        self.pulling = False
        if self.awaited is not None:
            self.awaited.set()
            self.awaited = None

    def moved(self) -> None:
        """Tell the holder that the durable offset, the state or what is written has changed."""
        self.heard = trio.current_time()  # until now it waited for us
        if self._came is not None and self.upload.offset >= self._came[0]:
            self.on_durable(self.way.wire, self.heard - self._came[1])
            self._came = None
        self._call(self.on_move)

    def _call(self, tell: Callable[[], None]) -> None:
        try:
            tell()
        except Exception as fault:  # noqa: BLE001 - it belongs to the holder, not to who tells it
            self.on_fault(fault)


def _deaf(error: UploadError) -> None:
    """Who has given it back is not told to."""


def _still() -> None:
    """Nor how it moves."""


def _free() -> bool:
    """Nothing of them is held back."""
    return False


class Working:
    """A block while which the holder of *claim* waits for us.

    A class and no generator: it stands on the way of every upload.
    """

    __slots__ = ("_claim",)

    def __init__(self, claim: Claim) -> None:
        self._claim = claim

    def __enter__(self) -> None:
        self._claim.begin_work()

    def __exit__(self, *error: object) -> None:
        self._claim.end_work()
