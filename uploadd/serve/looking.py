"""Finding an upload by what a client calls it, and waiting for something new of it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Final

import trio

from uploadd import errors
from uploadd.auth import Access, Operation, Who, ends
from uploadd.protocol.requests import UPLOAD_ID
from uploadd.protocol.upload import GONE, Input, State, Upload, gone
from uploadd.serve.admitting import asking
from uploadd.serve.exchange import Exchange
from uploadd.uploads import Uploads

MAX_NAMES: Final = 10_000
TOGETHER: Final = 100
"""Names that are looked up at a time."""
_UNKNOWN: Final = (State.CANCELLED, State.DELETED)
"""As if it had never been: a client that deleted it asks whether that is so."""


def present(upload: Upload | None) -> Upload:
    """*upload*, if there is something of it.  Raises NotFound, or Gone for what was not wished."""
    if upload is None:
        raise errors.NotFound("there is no such upload")  # its name may be a key, which is secret
    if upload.state in _UNKNOWN:
        raise errors.NotFound(f"there is no upload {upload.id}")
    if (reason := GONE.get(upload.state)) is not None:
        raise gone(upload.id, reason)
    return upload


async def end(uploads: Uploads, upload: Upload, exchange: Exchange, access: Access) -> None:
    """Cancel *upload*, or remove its file.  Raises Forbidden and what those verbs raise."""
    what = ends(upload)
    access.check(exchange.who, what, upload)
    upload.request = asking(uploads, exchange)
    await uploads.terminate(upload, Input.DELETE if what is Operation.DELETE else Input.CANCEL)


class Names:
    """What clients call uploads beside their ids: short names, as long as they are remembered."""

    def __init__(self, uploads: Uploads) -> None:
        self._uploads = uploads
        self._names: OrderedDict[tuple[str, str | None, str], str] = OrderedDict()

    def name(self, upload: Upload, name: str) -> None:
        """Call *upload* so from now on, if it is its owner who asks; or, when it was begun by a
        link, and has the key of that, whoever has the link.
        """
        called = upload.owner, upload.key, name
        self._names[called] = upload.id
        self._names.move_to_end(called)
        if len(self._names) > MAX_NAMES:
            self._names.popitem(last=False)

    async def find(self, name: str, who: Who) -> Upload:
        """The upload whose id *name* is, or that *who* calls so.  Raises NotFound, Gone.

        Ids first: nobody may give to one of theirs the id of somebody else's.
        """
        upload = None
        if UPLOAD_ID.fullmatch(name):
            with suppress(errors.NotFound):
                upload = await self._uploads.find(name)
        id = self._names.get((who.owner, _link(who), name))
        if upload is None and id is not None:
            upload = await self._uploads.find(id)
        if upload is None:
            upload = await self._uploads.find_key(who.owner, name)
        return present(upload)

    async def find_all(self, names: Sequence[str], who: Who) -> list[Upload | None]:
        """As `find` for each of *names*, whatever its state; None where there is none."""
        found: list[Upload | None] = []
        for at in range(0, len(names), TOGETHER):
            found += await self._find_some(names[at : at + TOGETHER], who)
        return found

    async def _find_some(self, names: Sequence[str], who: Who) -> list[Upload | None]:
        called = [self._names.get((who.owner, _link(who), name)) for name in names]
        ids = {name for name in names if UPLOAD_ID.fullmatch(name)} | {*filter(None, called)}
        found = await self._uploads.find_all(ids, who.owner, set(names))
        by_id = {upload.id: upload for upload in found if upload.id in ids}
        by_key = {upload.key: upload for upload in found if upload.owner == who.owner}
        return [
            by_id.get(name) or by_id.get(id or "") or by_key.get(name)
            for name, id in zip(names, called, strict=True)
        ]


def _link(who: Who) -> str | None:
    """The key of the link that *who* came by."""
    return None if who.claims is None else who.claims.key


class Waiters:
    """Answers that wait for something to happen: at most *most*, and none when the daemon stops."""

    def __init__(self, most: int) -> None:
        self.most = most
        self._waiting: set[Bell] = set()
        self.draining = False

    @contextmanager
    def one(self) -> Iterator[Bell]:
        """A place among them, and the bell that wakes it.  Raises TooMany."""
        if len(self._waiting) >= self.most:
            raise errors.TooMany(f"{len(self._waiting)} answers wait already")
        bell = Bell()
        self._waiting.add(bell)
        try:
            yield bell
        finally:
            self._waiting.discard(bell)

    def drain(self) -> None:
        """Wake everybody: nothing more will happen here."""
        self.draining = True
        for bell in self._waiting:
            bell.ring()


class Bell:
    """Wakes one task; it may ring while nobody waits."""

    def __init__(self) -> None:
        self._event = trio.Event()

    def ring(self) -> None:
        """There is something to see."""
        self._event.set()

    async def rung(self) -> None:
        """Wait until it rings, or return at once if it has."""
        await self._event.wait()
        self._event = trio.Event()


@asynccontextmanager
async def heard(exchange: Exchange) -> AsyncIterator[None]:
    """End the block when nobody waits for its answer any more.  Raises BrokenResourceError then,
    and what the block refuses.
    """
    gone = False
    refused: errors.UploadError | None = None

    async def watch() -> None:
        nonlocal gone
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            await exchange.peer_gone()
        gone = True
        nursery.cancel_scope.cancel(reason="nobody listens")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch)
        try:
            yield
        except errors.UploadError as error:  # not in a group
            refused = error
        nursery.cancel_scope.cancel(reason="all is said")
    if gone:
        raise trio.BrokenResourceError("the peer has gone before the answer")
    if refused is not None:
        raise refused
