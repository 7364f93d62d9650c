"""Watching: whatever happens in whatever order, who reads sees the newest in the end."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

import msgspec
import trio
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.serve.desk import virtual
from uploadd.latest import EVERYBODY, Life, of_owner, of_upload
from uploadd.protocol.extents import NOTHING
from uploadd.protocol.seen import Glance
from uploadd.protocol.upload import Input, State, Upload
from uploadd.watch import INTERVAL, TELLINGS, Watch, Watcher

MOST = 3
LENGTH = 400  # of one text, about
ENDS = {
    "cancel": (Input.CANCEL,),
    "expire": (Input.EXPIRE,),
    "publish": (Input.COMPLETE, Input.PUBLISH),
}


@dataclass(eq=False)
class One:
    """A watcher, and all that it has heard."""

    watcher: Watcher
    heard: dict[str, dict[str, Any]] = field(default_factory=dict)
    due: set[str] = field(default_factory=set)
    """What it must hear of, if only in the end."""


class World:
    """Uploads and those who watch them."""

    def __init__(self, most: int = 1000) -> None:
        self.watch = Watch(self.glance, most=most)
        self.held: set[str] = set()
        self.uploads = [Upload(f"u{n}", owner="ab"[n % 2]) for n in range(6)]
        self.ones: list[One] = []

    def glance(self, upload: Upload) -> Glance:
        return Glance(upload.held.end, upload.id in self.held)

    def newest(self, upload: Upload) -> tuple[str, int]:
        """What somebody who sees everything would see."""
        words = {State.PUBLISHED: "published", State.CANCELLED: "cancelled"}
        words |= {State.EXPIRED: "expired"}
        busy = "receiving" if upload.offset else "queued"
        return words.get(upload.state, busy if upload.id in self.held else "queued"), upload.offset

    def do(self, verb: str, which: int, how: Any) -> None:
        upload = self.uploads[which % len(self.uploads)]
        if verb in ("claim", "move", "release", "end"):
            if upload.state is State.RECEIVING:
                getattr(self, verb)(upload, how)
                self.watch.moved(upload)
                for one in self.ones:
                    if self.concerns(one, upload):
                        one.due.add(upload.id)
        elif verb == "watcher" or not self.ones:
            self.ones.append(One(self.watch.watcher(lambda: None)))
        else:
            getattr(self, verb)(self.ones[which % len(self.ones)], upload)

    def concerns(self, one: One, upload: Upload) -> bool:
        subjects = {of_upload(upload.id), of_owner(upload.owner), EVERYBODY}
        return not subjects.isdisjoint(one.watcher.subjects)

    def claim(self, upload: Upload, how: Any) -> None:
        self.held.add(upload.id)

    def move(self, upload: Upload, how: Any) -> None:
        self.held.add(upload.id)
        upload.hold(NOTHING.add(0, upload.offset + 1 + how % 5))

    def release(self, upload: Upload, how: Any) -> None:
        self.held.discard(upload.id)

    def end(self, upload: Upload, how: Any) -> None:
        if upload.length is None:
            upload.length = upload.offset
        for what in ENDS[sorted(ENDS)[how % 3]]:
            upload.complete() if what is Input.COMPLETE else upload.move(what)
        self.held.discard(upload.id)

    def add(self, one: One, upload: Upload) -> None:
        one.watcher.add_upload(upload)
        one.due.add(upload.id)

    def add_owner(self, one: One, upload: Upload) -> None:
        one.watcher.add(of_owner(upload.owner))
        one.due |= {u.id for u in self.uploads if u.owner == upload.owner and u.id in self.held}

    def add_all(self, one: One, upload: Upload) -> None:
        one.watcher.add(EVERYBODY)
        one.due |= self.held

    def drop(self, one: One, upload: Upload) -> None:
        one.watcher.drop(of_upload(upload.id))
        one.watcher.drop(EVERYBODY)
        one.due = {u.id for u in self.uploads if u.id in one.due and self.concerns(one, u)}

    def read(self, one: One, upload: Upload) -> None:
        """Some of it: no more than that is made."""
        self.hear(one, one.watcher.take(2 * LENGTH))

    def read_all(self, one: One) -> None:
        while one.watcher.ready:
            self.hear(one, one.watcher.take(LENGTH))

    def hear(self, one: One, taken: list[Life]) -> None:
        assert sum(len(life.text) for life in taken) <= 2 * LENGTH or len(taken) == 1
        named = sum(of_upload(u.id) in one.watcher.subjects for u in self.uploads)
        assert len(taken) <= self.watch.most + named
        assert len({life.upload.id for life in taken}) == len(taken)
        for life in taken:
            told = msgspec.json.decode(life.text)
            before = one.heard.get(life.upload.id, {})
            if told["type"] == "progress":
                assert told["offset"] >= before.get("offset", 0)
                assert "reason" not in before, "what is gone does not come back"
            one.heard[life.upload.id] = told

    def is_newest(self, one: One) -> bool:
        """Whether the last that was heard of everything is how it is."""
        for upload in self.uploads:
            if upload.id in one.due:
                told, (state, offset) = one.heard.get(upload.id, {}), self.newest(upload)
                said = told.get("reason") or told.get("state")
                if said != state or told.get("offset", offset) != offset:
                    return False
        return True


VERBS = ["claim", "move", "move", "release", "end", "watcher", "add", "add_owner", "add_all"]
COMMANDS = st.lists(
    st.tuples(
        st.sampled_from([*VERBS, "drop", "read", "sleep", "sleep"]),
        st.integers(0, 5),
        st.integers(0, 9),
    ),
    max_size=60,
)


@given(COMMANDS)
@example(
    [
        *(("claim", 1, 0), ("claim", 2, 0), ("claim", 4, 0), ("add", 3, 0)),
        *(("add_owner", 0, 0), ("drop", 0, 0), ("claim", 0, 0), ("sleep", 0, 1)),
        ("add_owner", 1, 0),  # of whom something is older than what it could not be told of
    ]
)
@settings(max_examples=300, deadline=None)
@virtual
async def test_who_reads_sees_the_newest_of_everything_in_the_end(
    commands: list[tuple[str, int, int]],
) -> None:
    """Never a smaller offset, never more pending than so many and those named by id."""
    async with trio.open_nursery() as nursery:
        world = World(MOST)
        await nursery.start(world.watch.run)
        for verb, which, how in [("watcher", 0, 0), ("add_all", 0, 0), *commands]:
            if verb == "sleep":
                await trio.sleep(how * INTERVAL / 3)
            else:
                world.do(verb, which, how)
        for _ in range(20):
            await trio.sleep(INTERVAL)
            for one in world.ones:
                world.read_all(one)
        await trio.sleep(10)
        for one in world.ones:
            world.read_all(one)
            assert world.is_newest(one), (one.heard, one.due)
            one.watcher.close()
        assert not world.watch._watchers
        assert not world.watch._dirty
        assert set(world.watch._lives) <= world.held
        nursery.cancel_scope.cancel()


@virtual
async def test_who_reads_slowly_hears_of_everything_in_turn() -> None:
    """Also where more moves than may wait, and all of it goes on moving."""
    async with trio.open_nursery() as nursery:
        world = World(MOST)
        await nursery.start(world.watch.run)
        watcher = world.watch.watcher(lambda: None)
        watcher.add(EVERYBODY)
        heard: Counter[str] = Counter()
        for _ in range(60):
            for which in range(6):
                world.do("move", which, 0)
            await trio.sleep(INTERVAL)
            heard.update(life.upload.id for life in watcher.take(LENGTH))
        assert min(heard[upload.id] for upload in world.uploads) >= 5
        nursery.cancel_scope.cancel()


@virtual
async def test_an_upload_is_told_five_times_a_second_and_a_change_of_state_at_once() -> None:
    """However often it moves; and the other uploads wait for their turn all the same."""
    async with trio.open_nursery() as nursery:
        world = World()
        await nursery.start(world.watch.run)
        told: list[tuple[float, str]] = []
        watcher = world.watch.watcher(lambda: told.append((trio.current_time(), "woken")))
        watcher.add(EVERYBODY)
        first, second = world.uploads[:2]
        for _ in range(1000):
            world.do("move", 0, 0)
            await trio.sleep(0.002)
            watcher.take()
        assert 8 <= len(told) <= 12
        await trio.sleep(1)
        watcher.take()
        world.do("move", 0, 0)
        await trio.sleep(0.01)
        assert [life.upload for life in watcher.take()] == [first]
        world.do("move", 0, 0)
        world.do("claim", 1, 0)
        await trio.sleep(0.01)
        assert [life.upload for life in watcher.take()] == [second]
        await trio.sleep(INTERVAL)
        assert [life.upload for life in watcher.take()] == [first]
        nursery.cancel_scope.cancel()


@virtual
async def test_with_many_watchers_rounds_are_rarer() -> None:
    """Telling them costs what it costs; it may not take the time of those who are watched."""
    async with trio.open_nursery() as nursery:
        world = World()
        await nursery.start(world.watch.run)
        count = 3000
        reads = 0

        def read(watcher: Watcher) -> None:
            nonlocal reads
            reads += bool(watcher.take())

        for _ in range(count):
            watcher = world.watch.watcher(lambda: None)
            watcher.add(EVERYBODY)
            watcher._wake = lambda watcher=watcher: read(watcher)  # type: ignore[misc]
        world.do("move", 0, 0)
        for _ in range(2000):
            world.do("move", 0, 0)
            await trio.sleep(0.01)
        assert reads <= TELLINGS * 20 + 2 * count
        assert reads >= 2 * count
        nursery.cancel_scope.cancel()


@virtual
async def test_what_stands_still_is_told_as_standing_still() -> None:
    """The rate falls to nothing by itself, and then nothing is told any more."""
    async with trio.open_nursery() as nursery:
        world = World()
        await nursery.start(world.watch.run)
        watcher = world.watch.watcher(lambda: None)
        watcher.add(EVERYBODY)
        for _ in range(20):
            world.do("move", 0, 4)
            await trio.sleep(INTERVAL)
            assert all("receiving" in life.text for life in watcher.take())
        rates = []
        for _ in range(60):
            await trio.sleep(INTERVAL)
            rates += [msgspec.json.decode(life.text)["rate"] for life in watcher.take()]
        assert rates == sorted(rates, reverse=True)
        assert rates[-1] == 0
        assert len(rates) < 10
        nursery.cancel_scope.cancel()


@virtual
async def test_who_comes_back_is_told_what_is_new_since() -> None:
    """Also what has ended, and nothing of what was heard before."""
    async with trio.open_nursery() as nursery:
        world = World()
        await nursery.start(world.watch.run)
        for which in range(3):
            world.do("move", which, 0)
        await trio.sleep(1)
        number = world.watch.number
        world.do("move", 0, 0)
        world.do("end", 1, 0)
        await trio.sleep(1)
        watcher = world.watch.watcher(lambda: None)
        watcher.add(EVERYBODY, since=number)
        taken = watcher.take()
        assert [life.upload.id for life in taken] == ["u0", "u1"]
        assert [life.number for life in taken] == sorted(life.number for life in taken)
        assert taken[1].gone == "cancelled"
        nursery.cancel_scope.cancel()


@virtual
async def test_who_watches_a_subject_is_told_of_all_of_it_and_of_nothing_else() -> None:
    """Also of what was tied to it later; and what has ended leaves nothing behind."""
    world = World()
    watch, uploads = world.watch, world.uploads
    for upload in uploads:
        world.claim(upload, 0)
        watch.moved(upload)
    watch.tie(uploads[0], "one more subject")
    watcher = watch.watcher(lambda: None)
    for subject, expected in (
        ("one more subject", uploads[:1]),
        (of_owner("b"), uploads[1::2]),
        (of_upload(uploads[2].id), uploads[2:3]),
        ("nobody's", []),
        (EVERYBODY, uploads),
    ):
        watcher.add(subject)
        assert {life.upload.id for life in watcher.take()} == {one.id for one in expected}
    watcher.close()
    for upload in uploads:
        world.end(upload, 0)
        watch.moved(upload)
    async with trio.open_nursery() as nursery:
        await nursery.start(watch.run)
        await trio.sleep(2 * INTERVAL)
        nursery.cancel_scope.cancel()
    assert watch.moving() == []
    assert not watch._lives
    assert not watch._by_subject


@virtual
async def test_what_rests_is_there_once_for_all_who_watch_it() -> None:
    """Nothing is made for later: when it goes on, what is told is how it stands then."""
    world = World()
    one, other = (world.watch.watcher(lambda: None) for _ in range(2))
    upload = world.uploads[0]
    one.add_upload(upload)
    other.add_upload(upload)
    (life,) = one.take()
    assert '"offset":0' in life.text
    world.move(upload, 4)
    world.watch.moved(upload)
    (same,) = other.take()
    assert same is life
    assert '"offset":5' in same.text
    one.close()
    other.close()
    del life, same
    assert not world.watch._resting


def calls(job: Callable[[], None]) -> int:
    """How many functions *job* calls."""
    count = 0

    def called(frame: FrameType, event: str, what: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(called)
    try:
        job()
    finally:
        sys.setprofile(None)
    return count


@virtual
async def test_to_watch_no_more_costs_the_same_however_much_waits_to_be_read() -> None:
    """For each upload that was watched, when all end and when some do."""
    costs = []
    for many in (20, 200):
        watch = Watch(lambda upload: Glance())
        uploads = [Upload(f"u{n}") for n in range(many)]

        def watching(watch: Watch = watch, uploads: list[Upload] = uploads) -> Watcher:
            watcher = watch.watcher(lambda: None)
            for upload in uploads:
                watcher.add_upload(upload)
            return watcher

        some = watching()
        dropped = calls(lambda some=some: [some.drop(of_upload(f"u{n}")) for n in range(10)])  # type: ignore[misc]
        assert len(some.take(sys.maxsize)) == many - 10
        costs.append((calls(watching().close) / many, dropped))
        some.close()
        assert not watch._watchers
    assert costs[1] <= costs[0]
