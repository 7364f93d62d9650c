"""Rings 1 to 3 against a model, with faults and crashes among the things that happen.

What was told stays true: the offset, the bytes below it, that it is complete, that it is gone.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.crashes import Medium, new_folders
from tests.rings import Killed, Life, Mortal, everything, rings
from tests.witness import witness
from tests.world import Command, Day, World
from uploadd import commit as module
from uploadd.errors import NoSpace
from uploadd.ledger import Ledger
from uploadd.protocol.upload import GONE, State
from uploadd.recovery import recover

WHICH = st.integers(0, 5)
CREATE = st.tuples(
    st.just("create"), st.sampled_from(["x", "y.txt", None]), st.integers(0, 12), st.booleans()
)
APPEND = st.tuples(st.just("append"), WHICH, st.integers(1, 8), st.booleans())
COMPLETE = st.tuples(st.just("complete"), WHICH)
OTHER = st.tuples(
    st.sampled_from(["settle", "settle", "take over", "take over", "cancel", "leave"]), WHICH
)
FAULT = st.tuples(
    st.just("fault"),
    st.sampled_from(["write", "flush", "publish", "ledger"]),
    st.sampled_from([errno.EIO, errno.ENOSPC]),
)
CRASH = st.tuples(st.just("crash"), st.integers(0, 30))
DRAIN = st.tuples(st.just("drain"))
DAYS = st.tuples(
    st.lists(CREATE, min_size=1, max_size=3),
    st.lists(
        st.one_of(
            *(CREATE, APPEND, APPEND, APPEND, APPEND, COMPLETE, COMPLETE),
            *(OTHER, OTHER, FAULT, CRASH, DRAIN),
        ),
        min_size=15,
        max_size=40,
    ),
).map(lambda told: [*told[0], *told[1]])


class Faulty:
    """A store or ledger that fails once where it is told to."""

    def __init__(self, inner: Any, faults: dict[str, int]) -> None:
        self._inner, self._faults = inner, faults

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def commit(self, entries: Any) -> None:
        """A full ledger is told, any other failure is the end of the process."""
        if code := self._faults.pop("ledger", 0):
            raise NoSpace("full") if code == errno.ENOSPC else Killed
        await self._inner.commit(entries)


@contextmanager
def faulty_disk(faults: dict[str, int]) -> Iterator[None]:
    """Let the system calls of FileStore fail once where they are told to."""

    def failing(verb: str, real: Any) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            if code := faults.pop(verb, 0):
                raise OSError(code, os.strerror(code))
            return real(*args, **kwargs)

        return call

    with pytest.MonkeyPatch.context() as patch:
        for verb, name in (("write", "pwritev"), ("flush", "fdatasync"), ("publish", "link")):
            patch.setattr(os, name, failing(verb, getattr(os, name)))
        yield


async def run(world: World, commands: list[Command]) -> None:
    """Days until nothing is left to do; each begins with recovery, and ends with a crash."""
    todo = iter([*commands, ("crash", 0)])
    for _ in range(len(commands) + 2):
        async with world.medium.opened() as (store, ledger):
            await recover(store, ledger, hooks=witness())
            await truth_of(world, store, ledger)
            world.life = Life()
            world.faults.clear()
            try:
                await one_day(world, store, ledger, todo)
            except* Killed:
                pass
    async with world.medium.opened() as (store, ledger):
        await recover(store, ledger, hooks=witness())
        await truth_of(world, store, ledger)


async def one_day(world: World, store: Any, ledger: Ledger, todo: Iterator[Command]) -> None:
    """Until it is killed, or nothing is left."""
    in_files = world.medium.kind == "file"
    if not in_files:
        store.fail_next = world.faults
    faulty = Faulty(Mortal(ledger, world.life), world.faults)
    with faulty_disk(world.faults) if in_files else nullcontext():
        async with rings(
            None, Mortal(store, world.life), faulty, closing=False, flush_interval=0.001
        ) as r:
            day = Day(world, r)
            for command in todo:
                await day.do(command)


async def truth_of(world: World, store: Any, ledger: Ledger) -> None:
    """What the media say after recovery, against what was told."""
    uploads = everything(ledger)
    for id, told in list(world.told.items()):
        upload = uploads[id]
        # Lost: killed while its bytes made room for the word that it was cancelled.
        lost = upload.state is State.LOST and id in world.unsure
        assert lost or upload.state in {State.RECEIVING, State.PUBLISHED, State.CANCELLED}
        assert upload.offset >= told.offset or upload.state in GONE
        assert not told.published or upload.state is State.PUBLISHED
        assert not told.gone or upload.state in GONE
        assert upload.state is State.RECEIVING or told.published or told.gone or id in world.unsure
        if upload.state is State.RECEIVING:
            assert await store.read(id, 0, 99) == told.truth[: upload.offset]
            told.offset = upload.offset
        told.published, told.gone = upload.state is State.PUBLISHED, upload.state in GONE
    files = {u.published.path: world.told[u.id].truth for u in uploads.values() if u.published}
    assert world.medium.files() == files
    receiving = {id for id, u in uploads.items() if u.state is State.RECEIVING}
    assert world.medium.growing() <= receiving


@pytest.mark.parametrize("kind", ["memory", "file"])
@given(commands=DAYS)
@settings(max_examples=60)
def test_what_was_told_stays_true_whatever_happens(kind: str, commands: list[Command]) -> None:
    """Faults, takeovers and crashes at any call, in any order."""
    with new_folders() as folders, pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "NO_ROOM_PAUSE", 0.001)
        trio.run(run, World(Medium(next(folders), kind)), commands)


def test_the_world_is_not_empty(tmp_path: Path) -> None:
    """One day on which everything goes well, so that the rest means something."""
    world = World(Medium(tmp_path, "memory"))
    commands: list[Command] = [
        *(("create", "x", 8, True), ("append", 0, 4, True), ("crash", 3), ("append", 0, 6, True)),
        *(("append", 0, 6, True), ("append", 0, 6, True), ("complete", 0)),
        *(("create", "x", 3, True), ("cancel", 1), ("create", "x", 2, False)),
        *(("append", 2, 2, False), ("complete", 2)),
    ]
    trio.run(run, world, commands)
    assert sorted(world.medium.files()) == ["x", "x-2"]
    assert [(told.published, told.gone) for told in world.told.values()] == [
        *((True, False), (False, True), (True, False)),
    ]
