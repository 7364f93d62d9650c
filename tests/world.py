"""A model of what peers were told, and the commands of one day held against it."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any

import trio

from tests.crashes import Medium
from tests.rings import Life, Rings, fail
from uploadd import errors
from uploadd.errors import StoreError
from uploadd.protocol.upload import GONE, State, Upload
from uploadd.uploads import Claim

Command = tuple[Any, ...]


@dataclass
class Told:
    """What the peers of one upload know, and what they would send."""

    name: str | None
    truth: bytes
    offset: int = 0
    published: bool = False
    gone: bool = False


@dataclass
class World:
    """The model, and the running rings that it is held against."""

    medium: Medium
    told: dict[str, Told] = field(default_factory=dict)
    life: Life = field(default_factory=Life)
    faults: dict[str, int] = field(default_factory=dict)
    unsure: set[str] = field(default_factory=set)
    """Ids whose end was asked for and never answered: either is right."""

    def pick(self, which: int) -> str | None:
        """One of the uploads."""
        ids = list(self.told)
        return ids[which % len(ids)] if ids else None


class Day:
    """From one start to the next crash."""

    def __init__(self, world: World, r: Rings) -> None:
        self.world, self.r = world, r
        self.claims: dict[str, Claim] = {}

    async def do(self, command: Command) -> None:
        """Carry out one command; a peer may hear of a medium that fails, and of nothing worse."""
        verb, *rest = command
        if verb in ("create", "fault", "crash", "drain"):
            await getattr(self, verb)(*rest)
            return
        id = self.world.pick(rest[0])
        if id is None:
            return
        upload = await self.r.uploads.find(id)
        told = self.world.told[id]
        self.check(upload, told)
        try:
            await getattr(self, verb.replace(" ", "_"))(upload, told, *rest[1:])
        except StoreError:
            self.leave_now(id)
        except errors.Gone:
            assert told.gone or id in self.world.unsure
        except errors.Conflict:
            assert upload.state in (State.PUBLISHED, State.FINALIZING)
        self.check(upload, told)

    def check(self, upload: Upload, told: Told) -> None:
        """Nothing that was told is taken back."""
        assert upload.offset >= told.offset
        assert not told.published or upload.state is State.PUBLISHED
        assert not told.gone or upload.state in GONE

    async def create(self, name: str | None, size: int, known: bool) -> None:
        """It is told of once the ledger has it."""
        truth = os.urandom(size)
        enrolled = trio.Event()
        upload = self.r.uploads.create(name=name, length=size if known else None)
        claim = self.r.uploads.contend(upload, lambda error: enrolled.set(), enrolled.set, fail)
        self.r.uploads.settle_new(claim)
        self.r.commit.enrol(upload)
        await enrolled.wait()
        if claim.ended is None:
            self.claims[upload.id] = claim
            self.world.told[upload.id] = Told(name, truth)
        else:
            self.r.uploads.release(claim)

    async def claim(self, upload: Upload) -> Claim:
        """The newest claim; the one before is given back."""
        newer = self.r.claim(upload)
        self.leave_now(upload.id)
        try:
            await self.r.uploads.settle(newer)
        except BaseException:
            self.r.uploads.release(newer)
            raise
        self.claims[upload.id] = newer
        return newer

    async def take_over(self, upload: Upload, told: Told) -> None:
        """The offset at which it goes on is told."""
        claim = await self.claim(upload)
        assert claim.run.start == upload.offset >= told.offset
        await self.tell(upload, told)

    async def append(self, upload: Upload, told: Told, count: int, settle: bool) -> None:
        """The next bytes, from where the claim stands; perhaps all of them at once."""
        claim = self.claims.get(upload.id)
        if claim is None or claim.ended is not None:
            claim = await self.claim(upload)
        at = claim.run.received
        data = told.truth[at : at + count]
        whole = at == 0 and len(data) == upload.length
        await self.r.append(claim, data, finish=whole)
        if settle:
            await self.settle(upload, told)

    async def settle(self, upload: Upload, told: Told) -> None:
        """What is durable is told; the ledger has it."""
        await self.r.commit.settle(upload)
        await self.tell(upload, told)

    async def tell(self, upload: Upload, told: Told) -> None:
        """Note the offset as a peer would."""
        offset = upload.offset
        if upload.state is State.RECEIVING:
            remembered = await self.r.ledger.find(upload.id)
            assert offset == 0 or (remembered is not None and remembered.offset >= offset)
        told.offset = max(told.offset, offset)

    async def complete(self, upload: Upload, told: Told) -> None:
        """Whole or not; it is told only when it is."""
        if upload.length is None and upload.state is State.RECEIVING:
            upload.declare(len(told.truth))
        self.world.unsure.add(upload.id)
        try:
            await self.r.uploads.complete(upload)
        except errors.Incomplete as error:
            self.check_incomplete(upload, told, error)
            return
        told.published, told.offset = True, len(told.truth)

    def check_incomplete(self, upload: Upload, told: Told, error: errors.Incomplete) -> None:
        """It says where to go on."""
        assert error.offset == upload.offset < len(told.truth)

    async def cancel(self, upload: Upload, told: Told) -> None:
        """Whoever holds it lets go."""
        self.leave_now(upload.id)
        self.world.unsure.add(upload.id)
        await self.r.uploads.cancel(upload)
        told.gone = True

    async def leave(self, upload: Upload, told: Told) -> None:
        """The session ends."""
        self.leave_now(upload.id)

    def leave_now(self, id: str) -> None:
        """Give back the claim, if there is one."""
        if claim := self.claims.pop(id, None):
            self.r.uploads.release(claim)

    async def fault(self, verb: str, code: int) -> None:
        """The next call of that verb fails."""
        self.world.faults[verb] = code

    async def crash(self, steps: int) -> None:
        """So many calls of store and ledger from now."""
        self.world.life.left = steps

    async def drain(self) -> None:
        """Everything that was begun is done, unless there is no room."""
        await self.r.commit.drain()
