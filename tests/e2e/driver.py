"""A daemon without a network: store, ledger, group commit and desk, and somebody who uploads.

    python -m tests.e2e.driver DIR HISTORY SCENARIO [SEED]

Every fact is written into HISTORY after it was told, so that whatever kills this program,
`oracle.verify` can judge what is left in DIR.  A refusal is answered as a good client would:
ask where the upload stands, go on from there, and after a few times give up.
"""

from __future__ import annotations

import gc
import hashlib
import os
import random
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Literal

import trio

from tests.e2e import faults
from tests.e2e.oracle import LEDGER, History, content, read_history, verify
from tests.e2e.overhttp import bodies
from tests.witness import witness
from uploadd import ledger
from uploadd.commit import ALONE, Commit
from uploadd.errors import Gone, NotFound, StoreError, UploadError
from uploadd.intake import Intake, drain
from uploadd.ledger import Ledger
from uploadd.protocol.upload import State, Upload
from uploadd.recovery import recover
from uploadd.store import disk, settle
from uploadd.store.contract import MediumFailed
from uploadd.store.file import FileStore
from uploadd.uploads import Claim, Uploads
from uploadd.work import Work

TEMPLATE: Final = "{subject}/{name}"
MAX_CHUNK: Final = 1 << 20
ATTEMPTS: Final = 8
WORKERS: Final = 6
PATIENCE: Final = 30.0
"""Seconds in which a scenario that ends must have ended."""


class Bench:
    """The parts, put together as the daemon does it, and the history of what they told."""

    def __init__(self, uploads: Uploads, history: History, nursery: trio.Nursery) -> None:
        self.uploads, self.history, self.nursery = uploads, history, nursery
        self.gave_up = False
        self._told: dict[str, int] = {}

    def tell(self, upload: Upload) -> None:
        """What a peer would hear now: that it has a row, and its durable offset."""
        if not upload.enrolled or upload.state is not State.RECEIVING:
            return
        if upload.id not in self._told:
            self.history.add("enrolled", upload.id)
        if upload.offset > self._told.get(upload.id, 0):
            self.history.add("offset", upload.id, offset=upload.offset)
        self._told[upload.id] = upload.offset

    def overhear(self) -> None:
        """Write down every offset that anybody may be told from now on, whatever the wire."""
        moved = self.uploads.commit.moved

        def told(upload: Upload) -> None:
            self.tell(upload)
            moved(upload)

        self.uploads.commit.moved = told

    async def forget(self) -> None:
        """Let time pass, until nobody holds an upload in memory for another one's sake."""
        for _ in range(3):
            await self.uploads.commit.drain()
            self.uploads.commit.flush(Upload("somebody else's"))
        await self.uploads.commit.drain()
        gc.collect()

    def create(self, plan: Plan) -> Upload:
        """A new upload for *plan*."""
        digest = hashlib.sha256(plan.data).digest() if plan.digest else None
        length = len(plan.data)
        upload = self.uploads.create(name=plan.name, length=length, owner="ann", digest=digest)
        plan.id = upload.id
        self.history.add("begun", upload.id, seed=plan.seed, length=length, name=plan.name)
        return upload

    async def publish(self, upload: Upload, digest: bytes | None) -> None:
        """Complete *upload*."""
        self.history.add("completing", upload.id)
        await self.uploads.complete(upload, digest)
        assert upload.published is not None
        self.history.add("published", upload.id, path=upload.published.path)

    async def cancel(self, upload: Upload) -> None:
        """Cancel *upload*."""
        self.history.add("cancelling", upload.id)
        await self.uploads.cancel(upload)
        self.history.add("gone", upload.id)


class Sender:
    """One holder of a claim: what a session or an exchange is to the desk."""

    def __init__(self, bench: Bench, upload: Upload, data: bytes) -> None:
        self.upload = upload
        self._bench, self._data = bench, data
        self._moved, self._drained = trio.Event(), trio.Event()
        self._intake: Intake | None = None
        self._claim: Claim = bench.uploads.contend(
            upload, self._on_stop, self._on_move, self._on_fault
        )

    def _on_fault(self, fault: Exception) -> None:
        raise fault

    def open_new(self) -> None:
        """Begin at 0, without waiting."""
        self._bench.uploads.settle_new(self._claim)
        self._open()

    async def resume(self) -> None:
        """Begin at the true offset; whoever held the upload is stopped."""
        try:
            await self._bench.uploads.settle(self._claim)
        except BaseException:
            self._bench.uploads.release(self._claim)
            raise
        self._bench.tell(self.upload)
        self._open()

    def _open(self) -> None:
        uploads = self._bench.uploads
        self._intake = Intake(
            self._claim,
            uploads.store,
            uploads.commit,
            taken=lambda cost: None,
            max_chunk=MAX_CHUNK,
        )
        self._bench.nursery.start_soon(self._write, self._intake)

    async def _write(self, intake: Intake) -> None:
        await drain(self._claim, intake)
        self._drained.set()
        if self._claim.ended is not None:
            self._bench.uploads.release(self._claim)

    def _on_stop(self, error: UploadError) -> None:
        if self._intake is not None:
            self._intake.close()
        self._wake()

    def _on_move(self) -> None:
        self._bench.tell(self.upload)
        self._wake()

    def _wake(self) -> None:
        self._moved.set()
        self._moved = trio.Event()

    @property
    def at(self) -> int:
        """Where the next byte goes."""
        return self._claim.run.received

    def put(self, count: int, *, flush: bool = False) -> None:
        """Send the next *count* bytes.  Raises what the claim was stopped for."""
        assert self._intake is not None
        chunk = self._data[self.at : self.at + count]
        self._intake.put(self.at, chunk, cost=len(chunk), flush=flush)

    async def held(self, what: Callable[[], bool]) -> None:
        """Wait until *what* is true.  Raises what the claim was stopped for."""
        while not what():
            if self._claim.ended is not None:
                raise self._claim.ended
            await self._moved.wait()

    async def enrolled(self) -> None:
        """Ask for a row and wait for it."""
        self._bench.uploads.commit.enrol(self.upload)
        await self.held(lambda: self.upload.enrolled)

    async def durable(self) -> None:
        """Wait until all that was sent is durable."""
        await self.held(lambda: self.upload.offset >= self.at)

    async def complete(self, digest: bytes | None = None) -> None:
        """All is sent: publish it, and give the claim back."""
        assert self._intake is not None
        self._intake.finish()
        try:
            await self._drained.wait()
            if self._claim.ended is not None:
                raise self._claim.ended
            await self._bench.publish(self.upload, digest)
        finally:
            self._bench.uploads.release(self._claim)

    async def leave(self) -> None:
        """Send no more; what was sent stays."""
        assert self._intake is not None
        self._intake.close()
        await self._drained.wait()
        self._bench.uploads.release(self._claim)


@dataclass
class Plan:
    """One upload as its client means it: *chunks* in bytes, what to do after which, and then."""

    seed: int
    name: str
    chunks: Sequence[int]
    fate: Literal["publish", "cancel", "leave"] = "publish"
    waits: frozenset[int] = frozenset()
    """After these chunks it waits until all is durable."""
    moves: frozenset[int] = frozenset()
    """After these it comes back on another connection, and takes over."""
    enrol: bool = True
    digest: bool = False
    id: str = ""

    @property
    def data(self) -> bytes:
        return content(self.seed, sum(self.chunks))


# --- a client ---------------------------------------------------------------------------------


async def carry(bench: Bench, plan: Plan, *, forget: bool = False) -> None:
    """Do what *plan* says; when it is refused, ask where the upload stands and go on.

    *forget*: so late that nobody holds it in memory; nothing else may be under way.
    """
    for _ in range(ATTEMPTS):
        try:
            await _attempt(bench, plan)
        except UploadError as error:
            bench.history.add("refused", plan.id, code=error.code, offset=error.offset)
            if isinstance(error, Gone):
                bench.history.add("gone", plan.id)
                return
        else:
            return
        if forget:
            await bench.forget()
    bench.gave_up = True


async def _attempt(bench: Bench, plan: Plan) -> None:
    retry = bool(plan.id)
    sender = await _begin(bench, plan)
    if sender is None:
        return
    at = 0
    if retry and plan.fate == "publish" and sender.at < len(plan.data):
        sender.put(len(plan.data) - sender.at)  # what is left, in one go
    for number, count in enumerate(plan.chunks):
        at += count
        if at > sender.at:
            sender.put(at - sender.at, flush=number in plan.waits)
            if number in plan.waits:
                await sender.durable()
            if number in plan.moves:
                sender = Sender(bench, sender.upload, plan.data)
                await sender.resume()
    if plan.fate == "publish":
        await sender.complete(hashlib.sha256(plan.data).digest() if plan.digest else None)
    elif plan.fate == "leave":
        await sender.leave()
    else:
        await bench.cancel(sender.upload)


async def _begin(bench: Bench, plan: Plan) -> Sender | None:
    """A sender at the true offset; None when the upload turns out to be published."""
    upload = None
    if plan.id:
        with suppress(NotFound):  # it never had a row
            upload = await bench.uploads.find(plan.id)
    if upload is None:
        sender = Sender(bench, bench.create(plan), plan.data)
        sender.open_new()
        if plan.enrol:
            await sender.enrolled()
        return sender
    if upload.published is not None:
        bench.history.add("published", upload.id, path=upload.published.path)
        return None
    sender = Sender(bench, upload, plan.data)
    await sender.resume()
    return sender


# --- scenarios ----------------------------------------------------------------------------------


async def small(bench: Bench, seed: int) -> None:
    """One of each kind, one after the other: every way through the store with few calls."""
    every = frozenset(range(3))
    for plan in (
        Plan(seed, "a.bin", (5000, 6000, 7000), waits=every, moves=frozenset({1}), digest=True),
        Plan(seed + 1, "a.bin", (3000,), enrol=False),  # without a name, and the name is taken
        Plan(seed + 2, "b.bin", (), enrol=False),
        Plan(seed + 3, "c.bin", (4000, 4000), "cancel", waits=every),
        Plan(seed + 4, "d.bin", (ALONE + 5000,)),  # without a name until its long flush
        Plan(seed + 5, "e.bin", (2000, 2000), "leave"),
    ):
        await carry(bench, plan, forget=True)
    await bench.uploads.commit.drain()


async def nothing(bench: Bench, seed: int) -> None:
    """Only what a start does."""


async def published(bench: Bench, seed: int) -> None:
    """Small uploads for ever, each in one go; nothing else is under way when one is told."""
    rng = random.Random(seed)
    while True:
        seed, name = rng.randrange(2**32), f"{rng.randrange(4)}.bin"
        await carry(bench, Plan(seed, name, (rng.randrange(1, 50_000),), enrol=False))


async def busy(bench: Bench, seed: int) -> None:
    """Several clients for ever, each with whatever chance gives it."""
    left: list[Plan] = []
    async with trio.open_nursery() as nursery:
        for number in range(WORKERS):
            nursery.start_soon(_client, bench, random.Random(f"{seed}/{number}"), left)


async def _client(bench: Bench, rng: random.Random, left: list[Plan]) -> None:
    while True:
        if left and rng.random() < 0.3:
            plan = left.pop(rng.randrange(len(left)))
            plan.fate = "publish"
        else:
            plan = some_plan(rng)
        await carry(bench, plan)
        if plan.fate == "leave":
            left.append(plan)


def some_plan(rng: random.Random) -> Plan:
    """Anything a client may want."""
    largest = rng.choice((1, 5000, 60_000, 400_000))
    chunks = [rng.randint(1, largest) for _ in range(rng.choice((0, 1, 1, 1, 2, 3, 5)))]
    numbers = range(len(chunks))
    return Plan(
        seed=rng.randrange(2**32),
        name=f"{rng.randrange(8)}.bin",
        chunks=chunks,
        fate=rng.choices(("publish", "cancel", "leave"), (6, 1, 2))[0],
        waits=frozenset(n for n in numbers if rng.random() < 0.3),
        moves=frozenset(n for n in numbers if rng.random() < 0.1),
        enrol=rng.random() < 0.5,
        digest=rng.random() < 0.3,
    )


async def kernel(bench: Bench, seed: int) -> None:
    """Bodies over HTTP for ever, which the kernel moves; small uploads are flushed beside them."""
    bench.overhear()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bodies, bench.uploads, bench.history, seed)
        for number in range(2):
            nursery.start_soon(_client, bench, random.Random(f"{seed}/{number}"), [])


async def resume(bench: Bench, seed: int) -> None:
    """Bring every upload of the history to its end, as its client would after a restart."""
    for id, told in read_history(bench.history.path).items():
        if told.path or told.gone:
            continue
        try:
            await bench.uploads.find(id)
        except NotFound:  # it never had a row, and nobody was told that it had
            continue
        fate: Literal["publish", "cancel"] = "cancel" if told.cancelling else "publish"
        await carry(bench, Plan(told.seed, told.name, (told.length,), fate, id=id))
    await bench.uploads.commit.drain()


SCENARIOS: Final = {
    scenario.__name__: scenario for scenario in (small, nothing, published, busy, kernel, resume)
}


# --- the program --------------------------------------------------------------------------------


class EarlyCommit(Commit):
    """Tells offsets before the flush: the mistake that the oracle must find."""

    async def _files(self, works: list[Work]) -> None:
        for work in works:
            assert isinstance(self._store, FileStore)
            if (entry := self._store._growing.get(work.upload.id)) is not None:
                work.upload.hold(entry.dirty)
                self.moved(work.upload)
        await super()._files(works)


@asynccontextmanager
async def opened(
    dir: str,
    history: History,
    *,
    durable: bool = True,
    flush: Literal["files", "filesystem"] = "files",
    broken: str | None = None,
) -> AsyncIterator[Bench]:
    """A bench on *dir*, recovered.  Leaving it ends everything; nothing is flushed.

    *durable* and *flush* are as in the configuration.  *broken* is a mistake: of these three,
    or of `_break`.
    """
    store = FileStore(dir, durable=durable and broken != "no flush", flush=flush)
    try:
        rows = Ledger(os.path.join(dir, LEDGER), durable=durable and broken != "no commit")
        try:
            await recover(store, rows, hooks=witness())
            commit = (EarlyCommit if broken == "early" else Commit)(store, rows)
            uploads = Uploads(store, rows, commit, template=TEMPLATE, hooks=witness())
            async with trio.open_nursery() as nursery:
                await nursery.start(commit.run)
                yield Bench(uploads, history, nursery)
                nursery.cancel_scope.cancel()
        finally:
            await rows.aclose()
    finally:
        await store.aclose()


async def _play(dir: str, history: History, scenario: str, seed: int, **how: Any) -> str:
    outcome, started = "", False
    try:
        with trio.fail_after(PATIENCE):
            async with opened(dir, history, **how) as bench:
                started = True
                await SCENARIOS[scenario](bench, seed)
                outcome = "gave up" if bench.gave_up else "done"
    except* MediumFailed:
        outcome = "stopped"
    except* (StoreError, OSError):
        if started:
            raise
        outcome = "not started"
    return outcome


def _break(mistake: str | None) -> None:
    """Make one of the mistakes that the oracle must find, for the rest of this process."""
    sync_data = disk.sync_data

    def sync_again(fds: Sequence[int]) -> list[OSError | None]:
        failed = zip(fds, sync_data(fds), strict=True)
        return [sync_data([fd])[0] if error else None for fd, error in failed]

    if mistake == "no folder sync":
        settle._sync_folders = lambda *_: None
    elif mistake == "sync again":
        disk.sync_data = sync_again


def run(
    dir: str,
    history: str,
    scenario: str,
    seed: int = 0,
    *,
    rules: Sequence[str] = (),
    below: str = "",
    trace: str | None = None,
    listener: str | None = None,
    pages: int = 0,
    **how: Any,
) -> dict[str, Any]:
    """Play *scenario*: how it ended, and how often the fault *rules* struck.

    It ends "done", or "gave up" on an upload that was refused again and again, or "stopped" as a
    failing medium demands, or "not started".  Anything else raises.

    Only calls in the folder *below* the store count for them.  *listener* is a pipe that gets
    every line of the history; a checkpoint is made after *pages*, if given; *how* is for `opened`.
    """
    _break(how.get("broken"))
    if pages:
        ledger.CHECKPOINT_PAGES = pages  # type: ignore[misc]  # final, but not here
    told = History(history, os.open(listener, os.O_WRONLY) if listener else -1)
    if rules or trace:
        faults.arm(os.path.join(dir, below), rules, trace)
    outcome = trio.run(partial(_play, dir, told, scenario, seed, **how))
    if not (rules or trace):
        return {"outcome": outcome, "hits": 0}
    faults.disarm()
    return {"outcome": outcome, "hits": faults.hits()}


def aftermath(dir: str, history: str) -> dict[str, Any]:
    """Judge what is left, bring every upload to its end, and judge again.

    The verdict of the first look, with all problems, and what the second found unfinished.
    """
    found = verify(dir, history)
    ended = run(dir, history, "resume")["outcome"]
    again = verify(dir, history)
    found["problems"] += [f"after resuming: {text}" for text in again["problems"]]
    if ended != "done" or again["unfinished"]:
        found["problems"].append(f"resuming: {ended}, {again['unfinished']} are unfinished")
    return found


if __name__ == "__main__":
    folder, facts, scenario, *seed = sys.argv[1:]
    print(run(folder, facts, scenario, int(*seed))["outcome"])
