"""Who is told where uploads are: newest values, in rounds.

The line that moves an offset calls `Watch.moved`, whatever wire the bytes came by, and that costs
it no more than a note in a dict.  A round, at most five a second, gives what has moved to those
who watch it.  A watcher holds which uploads it has not read yet, never what they were: reading
gives the newest, and who does not read costs nothing.

Changes of state start a round at once.  With many watchers rounds are rarer: telling them may not
slow down what they look at.
"""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import Callable, Iterable
from itertools import chain, islice
from typing import Final
from weakref import WeakValueDictionary

import trio

from uploadd.latest import EVERYBODY, PIECE, Life, of_owner, of_upload, upload_of
from uploadd.protocol.seen import Glance
from uploadd.protocol.upload import Upload
from uploadd.protocol.wsmessages import Notice
from uploadd.unread import Unread

INTERVAL: Final = 0.2
"""Seconds between two rounds that nobody hurries."""
TELLINGS: Final = 400.0
"""Watchers told in a second, all together: 1 000 of them cost about a tenth of the throughput."""
PER_TELLING: Final = 30
"""Uploads that cost as much to tell of as to wake one who is told."""
KEPT: Final = 1000
"""Uploads that have ended, or rest, and are remembered for watchers who come back."""
PACE: Final = 1.0
"""Seconds after which it is looked whether what stands still is told as moving."""
MAX_NOTICES: Final = 100
NOTICES: Final = 10  # at a time


class Watcher:
    """One who watches.  *wake* is called, on the loop, when there is something to `take`."""

    def __init__(self, watch: Watch, wake: Callable[[], None]) -> None:
        self._watch, self._wake = watch, wake
        self.subjects: set[str] = set()
        self._unread = Unread(watch.most)
        self._notices: dict[str, Notice] = {}

    @property
    def ready(self) -> bool:
        """Whether `take` or `notices` would give something."""
        return bool(self._unread or self._notices)

    @property
    def behind(self) -> bool:
        """Whether something waits that may be older than what was taken."""
        return bool(self._unread)

    def add(self, subject: str, *, since: int | None = None) -> None:
        """Watch *subject*: first how all of it stands that moves now.

        *since*: only what is newer than this number, and what has ended since.
        """
        self.subjects.add(subject)
        self._watch._watchers.setdefault(subject, set()).add(self)
        for life in self._watch.changed({subject}, since):
            self.mark(life)

    def add_upload(self, upload: Upload) -> None:
        """Watch one upload: first how it stands."""
        subject = of_upload(upload.id)
        self.subjects.add(subject)
        self._watch._watchers.setdefault(subject, set()).add(self)
        self.mark(self._watch.life(upload))

    def drop(self, subject: str) -> None:
        """Watch *subject* no more."""
        self.subjects.discard(subject)
        others = self._watch._watchers.get(subject)
        if others is not None:
            others.discard(self)
            if not others:
                del self._watch._watchers[subject]
        self._unread.drop(upload_of(subject), self.subjects)

    def close(self) -> None:
        """Watch nothing any more."""
        self._unread.clear()
        for subject in list(self.subjects):
            self.drop(subject)

    def mark(self, life: Life) -> None:
        """There is something new of *life*."""
        self._unread.put(life, named=of_upload(life.upload.id) in self.subjects)
        self._wake()

    def note(self, notice: Notice) -> None:
        """An upload of this owner has ended."""
        if len(self._notices) >= MAX_NOTICES:
            del self._notices[next(iter(self._notices))]
        self._notices[notice.notice] = notice
        self._wake()

    def take(self, most: int = PIECE) -> list[Life]:
        """What has changed, each in its turn: as much as *most* bytes tell of."""
        since = self._unread.begin()
        if since is not None:
            for life in self._watch.changed(self.subjects, since):
                self.mark(life)
        taken = self._unread.take(most)
        if taken:
            self._watch._told += 1 + len(taken) / PER_TELLING
        return taken

    def notices(self) -> list[Notice]:
        """The oldest notices that came since, some at a time."""
        return [self._notices.pop(id) for id in list(islice(self._notices, NOTICES))]


class Watch:
    """All uploads that move in this process.  *most* are pending for one watcher at a time, beside
    those that it watches by their ids.

    *glance* tells what is known of an upload beside what is durable.  `run` needs a task.
    """

    def __init__(self, glance: Callable[[Upload], Glance], *, most: int = 1000) -> None:
        self.glance, self.most = glance, most
        self.number = 0
        """Of the newest that was told, in this *epoch*."""
        self.epoch = secrets.token_hex(4)
        self._watchers: dict[str, set[Watcher]] = {}
        self._lives: dict[str, Life] = {}
        self._by_subject: dict[str, dict[str, Life]] = {}  # those that many can have
        self._resting: WeakValueDictionary[str, Life] = WeakValueDictionary()
        self._past: deque[Life] = deque(maxlen=KEPT)  # nobody has them in hand any more
        self._dirty: dict[str, Life] = {}
        self._told = 0.0
        self._wake, self._hurry = trio.Event(), trio.Event()

    # --- for those who move uploads: never wait -------------------------------------------------

    def moved(self, upload: Upload) -> None:
        """The durable bytes or the state of *upload* may have changed."""
        life = self._lives.get(upload.id)
        if life is None:
            life = self._begin(upload)
        else:
            life.moved()
        if not self._dirty:
            self._wake.set()
        self._dirty[upload.id] = life
        if self._is_watched(life) and (state := life.seen()) is not life.state:
            life.state, life.hurried = state, True
            self._hurry.set()

    def tie(self, upload: Upload, subject: str) -> None:
        """Tell of *upload* those, too, who watch *subject*."""
        self.moved(upload)
        life = self._lives[upload.id]
        if subject not in life.subjects:
            life.subjects.append(subject)
            self._by_subject.setdefault(subject, {})[upload.id] = life

    def noted(self, owner: str, notice: Notice) -> None:
        """An upload of *owner* has ended, and that is remembered."""
        for watcher in self._watchers.get(of_owner(owner), ()):
            watcher.note(notice)

    def _begin(self, upload: Upload) -> Life:
        self._resting.pop(upload.id, None)
        life = self._lives[upload.id] = Life(upload, self.glance)
        for subject in life.shared:
            self._by_subject.setdefault(subject, {})[upload.id] = life
        return life

    def _end(self, life: Life) -> None:
        id = life.upload.id
        del self._lives[id]
        self._past.append(life)
        for subject in life.shared:
            lives = self._by_subject[subject]
            del lives[id]
            if not lives:
                del self._by_subject[subject]

    def _moving(self, subjects: set[str]) -> Iterable[Life]:
        """Those of *subjects* that move; without a look at the others, of which there are many."""
        if EVERYBODY in subjects:
            return self._lives.values()
        found: dict[str, Life] = {}
        for subject in subjects:
            found |= self._by_subject.get(subject, {})
            if (life := self._lives.get(upload_of(subject))) is not None:
                found[life.upload.id] = life
        return found.values()

    # --- for those who watch --------------------------------------------------------------------

    def watcher(self, wake: Callable[[], None]) -> Watcher:
        """One more who watches, nothing yet; it must be closed."""
        return Watcher(self, wake)

    def life(self, upload: Upload) -> Life:
        """What is told of *upload*, moving or not; one for all who watch."""
        life = self._lives.get(upload.id) or self._resting.get(upload.id)
        if life is None:
            life = self._resting[upload.id] = Life(upload, self.glance)
        return life

    def moving(self) -> list[Upload]:
        """The uploads that somebody sends now."""
        return [life.upload for life in self._lives.values() if life.goes_on]

    def changed(self, subjects: set[str], since: int | None) -> list[Life]:
        """What of *subjects* is newer than *since*; None: all that moves."""
        found = list(self._moving(subjects))
        if since is not None:
            past = (life for life in self._past if not subjects.isdisjoint(life.subjects))
            found = [life for life in chain(past, found) if life.number > since or not life.number]
        found.sort(key=lambda life: life.number)
        return found

    # --- the rounds -----------------------------------------------------------------------------

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Tell in rounds, until cancelled."""
        task_status.started()
        full = at = trio.current_time()
        while True:
            with trio.move_on_after(PACE if self._runs() else float("inf")):
                await self._wake.wait()
            if not self._dirty:
                self._slow_down()
            free = at + self._told / TELLINGS
            due = max(full + INTERVAL, free)
            with trio.move_on_at(due):
                await self._hurry.wait()
            await trio.sleep_until(max(free, trio.current_time()))
            at = trio.current_time()
            if at >= due:
                full = at
            self._told = 0.0
            self._round(hurried=at < due)

    def _round(self, *, hurried: bool) -> None:
        """Give what has moved to those who watch it; *hurried*: only changes of state."""
        self._hurry = trio.Event()
        dirty, self._dirty = self._dirty, {}
        for id, life in dirty.items():
            if hurried and not life.hurried:
                self._dirty[id] = life
                continue
            life.hurried = False
            self.number += 1
            life.number = self.number
            if self._is_watched(life):
                self._tell(life)
            if not life.goes_on and self._lives.get(id) is life:
                self._end(life)
        if not self._dirty:
            self._wake = trio.Event()

    def _tell(self, life: Life) -> None:
        """Let those who watch it know, if there is something to see."""
        shown = life.upload.held.total, life.seen()
        if shown == life.shown:
            return
        life.shown = shown
        for subject in life.subjects:
            for watcher in self._watchers.get(subject, ()):
                watcher.mark(life)

    def _is_watched(self, life: Life) -> bool:
        return not self._watchers.keys().isdisjoint(life.subjects)

    def _runs(self) -> bool:
        """Whether somebody was told that something moves."""
        return bool(self._watchers) and any(life.runs for life in self._lives.values())

    def _slow_down(self) -> None:
        """Nothing has moved for a while: tell that, until it was told that nothing moves."""
        now = trio.current_time()
        for id, life in self._lives.items():
            if life.runs:
                life.runs = life.rate.at(now) > 0
                life.stale()
                life.shown = None
                self._dirty[id] = life
