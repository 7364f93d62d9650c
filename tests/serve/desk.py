"""A desk without threads or disks, so that a virtual clock can be trusted; and a peer for it."""

from __future__ import annotations

import functools
import gc
import json
import math
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, Final, ParamSpec

import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests import wire
from uploadd.budget import Budget
from uploadd.commit import Commit
from uploadd.ledger import Ledger
from uploadd.outbox import Line, lines
from uploadd.protocol.frames import Refusal
from uploadd.rows import LOOK, SCHEMA, Entries, write
from uploadd.serve.gate import Closed
from uploadd.serve.rules import Rules
from uploadd.serve.ws import Farewell, Session
from uploadd.store.memory import MemoryStore
from uploadd.uploads import Uploads

P = ParamSpec("P")
TICK: Final = 1.0
PATIENCE: Final = 10_000.0
"""Virtual seconds in which everything has happened that ever will."""


def virtual(test: Callable[P, Awaitable[None]]) -> Callable[P, None]:
    """Run *test* under a clock that jumps whenever everybody waits."""

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        trio.run(functools.partial(test, *args, **kwargs), clock=MockClock(autojump_threshold=0))

    return run


class MemoryLedger(Ledger):
    """What `Uploads` and `Commit` ask of a ledger: SQLite in memory, without a thread."""

    boot = "this boot"

    def __init__(self) -> None:
        self.db = sqlite3.connect(":memory:", isolation_level=None)
        self.db.executescript(SCHEMA)
        self.looks = 0

    @property
    def rows(self) -> dict[str, tuple[Any, ...]]:
        """The rows of all uploads, by id."""
        return {row[0]: row for row in self.db.execute(f"{LOOK} true").fetchall()}

    @property
    def events(self) -> list[Line]:
        """What the outbox holds."""
        return lines(self.db)

    async def commit(self, entries: Entries) -> None:
        await trio.lowlevel.checkpoint()
        write(self.db, entries)

    async def look(self, job: Callable[[sqlite3.Connection], Any]) -> Any:
        self.looks += 1
        for _ in range(10):  # others get on meanwhile
            await trio.lowlevel.checkpoint()
        return job(self.db)

    browse = look

    async def change(self, job: Callable[[sqlite3.Connection], Any]) -> Any:
        return await self.look(job)


class Store(MemoryStore):
    """In which the writes of one upload can be stopped."""

    def __init__(self, grain: int) -> None:
        super().__init__(grain=grain)
        self.stuck: dict[str, trio.Event] = {}
        self._firmly = False
        self.flushed: list[str] = []
        """The uploads of every flush, one after the other."""

    def stick(self, id: str, *, firmly: bool = False) -> trio.Event:
        """Let writes of *id* wait until the returned event is set; *firmly*: as a thread would."""
        self._firmly = firmly
        self.stuck[id] = trio.Event()
        return self.stuck[id]

    async def flush(self, ids: Sequence[str], publishing: Collection[str] = ()) -> Any:
        self.flushed += ids
        return await super().flush(ids, publishing)

    async def write(self, id: str, at: int, buffers: Any, **how: Any) -> None:
        if id not in self.stuck:
            await super().write(id, at, buffers, **how)
            return
        with trio.CancelScope(shield=self._firmly):
            await self.stuck[id].wait()
            await super().write(id, at, buffers, **how)


class Desk:
    """Uploads in memory, and the budget that sessions share."""

    def __init__(self, nursery: trio.Nursery, *, grain: int, **limits: Any) -> None:
        self.nursery = nursery
        self.store, self.ledger = Store(grain), MemoryLedger()
        self.commit = Commit(self.store, self.ledger)  # type: ignore[arg-type]  # as much as it asks
        self.uploads = Uploads(self.store, self.ledger, self.commit)  # type: ignore[arg-type]  # as above
        self.budget = Budget(256 << 20)
        self.rules = Rules(**limits)
        self.peers: list[Peer] = []

    def peer(self, **limits: Any) -> Peer:
        """A new session, and the peer at its other end; *limits* are those of `Rules`."""
        peer = Peer(self, Rules(**limits) if limits else self.rules)
        self.peers.append(peer)
        self.nursery.start_soon(peer.serve)
        return peer

    async def greeted(self, **limits: Any) -> Peer:
        """The same, behind hello and welcome."""
        peer = self.peer(**limits)
        await peer.say(type="hello")
        assert (await peer.hear())["type"] == "welcome"
        return peer

    async def forget(self, peer: Peer, upload: str) -> None:
        """Let *peer* hang up, and its *upload* be known to the ledger alone."""
        peer.hang_up()
        await peer.ended.wait()
        peer.session._receivings.clear()
        await (await self.greeted()).up(name="other")  # the last batch is remembered until the next
        await trio.sleep(1)  # those who watch were told of it
        self.uploads.watch._past.clear()
        gc.collect()
        assert upload not in self.uploads._live

    def claimed(self) -> list[str]:
        """The ids of the uploads that somebody has a claim on."""
        return list(self.uploads._claims)


@asynccontextmanager
async def open_desk(*, grain: int = 1, **limits: Any) -> AsyncIterator[Desk]:
    """A desk; when the block ends, all its sessions are lost, and nothing must be left of them.

    *grain* is that of its store, *limits* are those of `Rules`.
    """
    async with trio.open_nursery() as services:
        async with trio.open_nursery() as conversations:
            desk = Desk(conversations, grain=grain, **limits)
            await services.start(desk.commit.run)
            await services.start(desk.uploads.watch.run)
            conversations.start_soon(keep_alive, desk, services.cancel_scope)
            yield desk
            for event in desk.store.stuck.values():
                event.set()
            for peer in desk.peers:
                peer.hang_up()
            with trio.fail_after(PATIENCE):
                for peer in desk.peers:
                    await peer.ended.wait()
            conversations.cancel_scope.cancel()
        assert (desk.budget.used, desk.budget.moving) == (0, 0), "memory is given back"
        assert desk.budget.runs == 0, "whatever an upload came to"
        assert desk.claimed() == [], "claims are given back"
        services.cancel_scope.cancel()


async def keep_alive(desk: Desk, scope: trio.CancelScope) -> None:
    """What the daemon does for its sessions."""
    while True:
        await trio.sleep(TICK)
        for peer in desk.peers:
            peer.session.look_after(trio.current_time())


class Gate:
    """What a session asks of its gate."""

    def __init__(self) -> None:
        self.heard = trio.current_time()
        self.holding_back = self.resting = False
        self.max_binary = 0

    def rest(self) -> None:
        self.resting = True

    def set_max_binary(self, size: int) -> None:
        self.max_binary = max(self.max_binary, size)


class Peer:
    """A session's `Messages`, and the peer that says and hears them."""

    def __init__(self, desk: Desk, rules: Rules) -> None:
        self.desk = desk
        self.gate = Gate()
        self.share = desk.budget.share()
        self.pings = 0
        self._to, self._from = trio.open_memory_channel[str | bytes | Refusal](math.inf)
        self._out, self._in = trio.open_memory_channel[str](0)
        self.ended = trio.Event()
        self.farewell: Farewell | None = None
        self.session = Session(
            f"s{len(desk.peers)}",
            self,  # type: ignore[arg-type]  # four methods are all it asks of Messages
            self.gate,  # type: ignore[arg-type]  # as much as it asks of a gate
            self.share,
            desk.uploads,
            rules,
            max_chunk=self.share.max_chunk,
            version="1",
        )

    async def serve(self) -> None:
        """Run the session."""
        try:
            self.farewell = await self.session.serve()
        finally:
            self.share.close()
            self.ended.set()
            self._out.close()

    # --- Messages, for the session --------------------------------------------------------------

    async def receive(self) -> str | bytes:
        try:
            message = await self._from.receive()
        except trio.EndOfChannel as error:
            raise Closed from error
        if isinstance(message, Refusal):
            raise Closed(message)
        self.gate.heard = trio.current_time()
        return message

    async def send(self, *messages: str | bytes) -> None:
        for message in messages:
            assert isinstance(message, str)
            try:
                await self._out.send(message)
            except trio.BrokenResourceError as error:
                raise Closed from error

    def ping(self) -> None:
        self.pings += 1

    # --- the peer -------------------------------------------------------------------------------

    def tell(self, message: str | bytes) -> None:
        """Put one message on its way."""
        self._to.send_nowait(message)

    async def say(self, **message: Any) -> None:
        """Say one text message."""
        await self._to.send(json.dumps(message))

    async def begin(self, ref: int = 1, **members: Any) -> None:
        """Begin *ref*."""
        await self.say(type="begin", ref=ref, **members)

    async def chunk(self, ref: int, at: int, data: bytes, **flags: Any) -> None:
        """Send one chunk."""
        await self._to.send(wire.chunk(ref, at, data, **flags))

    async def hear(self) -> dict[str, Any]:
        """The next message; raises EndOfChannel when the session has ended."""
        with trio.fail_after(PATIENCE):
            told: dict[str, Any] = json.loads(await self._in.receive())
        return told

    async def hear_of(self, *kinds: str) -> dict[str, Any]:
        """The next message of one of *kinds*; acks are passed over."""
        while (told := await self.hear())["type"] not in kinds:
            assert told["type"] == "ack", told
        return told

    async def hear_acked(self, ref: int, offset: int) -> dict[str, Any]:
        """The ack of *ref* that says that *offset* is durable."""
        while (told := await self.hear())["offset"] < offset or told["ref"] != ref:
            assert told["type"] == "ack", told
        return told

    async def silence(self) -> None:
        """Nothing is said any more, whatever is still going on."""
        await wait_all_tasks_blocked()
        try:
            told = self._in.receive_nowait()
        except trio.WouldBlock:
            return
        raise AssertionError(told)

    async def rest(self) -> list[dict[str, Any]]:
        """Everything until the session has ended."""
        told = []
        with trio.fail_after(PATIENCE):
            async for message in self._in:
                told.append(json.loads(message))
            await self.ended.wait()
        return told

    async def goodbye(self) -> Farewell:
        """Hear to the end; how it ended."""
        await self.rest()
        assert self.farewell is not None
        return self.farewell

    def refuse(self, refusal: Refusal) -> None:
        """What the gate does when the peer has broken the rules."""
        with suppress(trio.ClosedResourceError, trio.BrokenResourceError):
            self._to.send_nowait(refusal)

    def hang_up(self) -> None:
        """The connection is lost."""
        self._to.close()
        self._in.close()

    async def up(self, ref: int = 1, **members: Any) -> str:
        """Begin a new upload and wait until it is ready; its id."""
        await self.begin(ref, **members)
        ready = await self.hear_of("ready")
        assert (ready["ref"], ready["offset"]) == (ref, 0)
        return str(ready["upload"])

    async def back(self, ref: int, upload: str) -> int:
        """Begin with an upload that there is; its offset."""
        await self.begin(ref, upload=upload)
        ready = await self.hear_of("ready")
        assert (ready["ref"], ready["upload"]) == (ref, upload)
        return int(ready["offset"])
