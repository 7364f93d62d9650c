"""What one watcher has not read: which uploads, in the order in which they are told."""

from __future__ import annotations

from operator import attrgetter

from uploadd.latest import Life


class Unread:
    """Uploads that wait for their turn, at most *most* beside those that are named.

    A turn is told in pieces; who moves on meanwhile waits for the next, so that each has its turn.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._turn: dict[str, Life] = {}
        self._next: dict[str, Life] = {}
        self._behind: int | None = None  # what is newer did not fit

    def __len__(self) -> int:
        return len(self._turn) + len(self._next)

    def __bool__(self) -> bool:
        return bool(self._turn or self._next) or self._behind is not None

    def put(self, life: Life, *, named: bool) -> None:
        """There is something new of *life*; whoever has its turn yet is told the newest anyway."""
        id = life.upload.id
        if id in self._turn:
            self._turn[id] = life
        elif named or id in self._next or len(self._next) < self._most:
            self._next[id] = life
        else:  # of a subject that is watched from now on, what is old may be new
            before = life.number - 1
            self._behind = before if self._behind is None else min(self._behind, before)

    def begin(self) -> int | None:
        """Begin the next turn if this one is over; what is newer than this has to be put again."""
        if self._turn:
            return None
        self._turn = {life.upload.id: life for life in sorted(self._next.values(), key=_NUMBER)}
        self._next = {}
        since, self._behind = self._behind, None
        return since

    def take(self, most: int) -> list[Life]:
        """The next of this turn: one, and as many more as *most* bytes tell of."""
        taken: list[Life] = []
        for life in self._turn.values():
            most -= life.size
            if taken and most < 0:
                break
            taken.append(life)
        for life in taken:
            del self._turn[life.upload.id]
        return taken

    def drop(self, id: str, subjects: set[str]) -> None:
        """Forget what is none of *subjects*, if it is the upload *id*, or (empty) any."""
        for waiting in (self._turn, self._next):
            for life in [waiting.get(id)] if id else list(waiting.values()):
                if life is not None and subjects.isdisjoint(life.subjects):
                    del waiting[life.upload.id]

    def clear(self) -> None:
        """Forget everything."""
        self._turn, self._next, self._behind = {}, {}, None


_NUMBER = attrgetter("number")
