"""What both ends of uploadd.v1 have in common: where the session is, and where its refs are."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from uploadd.protocol.wsstates import (
    DEAF,
    SESSION,
    WATCHES,
    RefInput,
    RefState,
    SessionInput,
    SessionState,
    WatchInput,
    WatchState,
)


class Run:
    """One life of a ref, from its begin to the next begin or to its last word."""

    __slots__ = ("limit", "offset", "sent", "state")

    def __init__(self, state: RefState, limit: int) -> None:
        self.state = state
        self.limit = limit  # the newest credit; a chunk ends at or below it
        self.offset: int | None = None  # the newest durable offset told; None before ready
        self.sent = 0  # client: where its last chunk ended


class Machine:
    """Walks the tables.  Whose mistake a missing entry is, the caller says by the exception."""

    refs_table: ClassVar[dict[RefState, dict[RefInput, RefState]]]

    def __init__(self) -> None:
        self.state = SessionState.OPENING
        self.closing: tuple[int, str] | None = None
        self._refs: dict[int, Run] = {}
        self.watched: set[str] = set()
        """Ids of uploads, ``mine`` and ``all``: what this end believes to be watched."""

    @property
    def deaf(self) -> bool:
        """Whether the session is over, but for what is still queued."""
        return self.state in DEAF

    @property
    def alive(self) -> int:
        """How many refs have not had their last word."""
        return len(self._refs)

    def state_of(self, ref: int) -> RefState:
        """Where *ref* is."""
        run = self._refs.get(ref)
        return run.state if run else RefState.ABSENT

    def _step(self, what: SessionInput, mistake: type[Exception]) -> None:
        """Move the session by *what*, or raise *mistake* and leave it where it is."""
        then = SESSION[self.state].get(what)
        if then is None:
            raise mistake(f"{what}: not while the session is {self.state}")
        self.state = then

    def _next(self, ref: int, what: RefInput, mistake: type[Exception]) -> RefState:
        """Where *what* leads *ref*, which is not moved yet; or raise *mistake*."""
        state = self.state_of(ref)
        then = self.refs_table[state].get(what)
        if then is None:
            raise mistake(f"{what}: not while ref {ref} is {state}")
        return then

    def _move(self, ref: int, then: RefState) -> Run | None:
        """Move *ref*; its run, which is forgotten when it ended, or None when there was none."""
        run = self._refs.get(ref)
        if run is not None:
            run.state = then
            if then is RefState.ABSENT:
                del self._refs[ref]
        return run

    def _see(self, what: WatchInput, subjects: Iterable[str]) -> None:
        """Move the watches of *subjects* by *what*."""
        for subject in subjects:
            is_watched = subject in self.watched
            before = WatchState.WATCHED if is_watched else WatchState.UNWATCHED
            if WATCHES[before][what] is WatchState.WATCHED:
                self.watched.add(subject)
            else:
                self.watched.discard(subject)
