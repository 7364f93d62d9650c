"""One file after the other to the server, with what must be remembered to go on."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable
from functools import partial
from typing import Final

import trio

from uploadd.client.errors import LocalFileChanged, LocalReadError, Rejected, UploadGone
from uploadd.client.journal import Journal
from uploadd.client.order import Order
from uploadd.client.reporter import Meter, Reporter
from uploadd.client.selection import STDIN, Item, Kind
from uploadd.client.session import Client, Stored
from uploadd.client.state import Known, States
from uploadd.client.totals import Totals
from uploadd.client.uploading import Progress
from uploadd.protocol import tickets
from uploadd.protocol.wsmessages import Digest

HASH_STEP: Final = 8 << 20


class Sender:
    """Stores items with *client*; what is stored goes into the *journal*, if there is one."""

    def __init__(
        self, client: Client, order: Order, reporter: Reporter, totals: Totals, states: States,
        journal: Journal | None = None,
    ) -> None:  # fmt: skip
        self._client, self._order = client, order
        self._reporter, self._totals, self._states = reporter, totals, states
        self._journal = journal
        self._told = False  # that nothing can be remembered
        self._writing = trio.CapacityLimiter(1)  # of lines
        self._active: set[Known] = set()

    async def store(self, item: Item) -> Stored:
        """Send what is not there yet.  Raises UploadFailed."""
        known = await trio.to_thread.run_sync(self._know, item)
        if known is None:
            stored = await self._stream(item)
        else:
            self._active.add(known)
            try:
                stored = await self._file(item, known)
            finally:
                self._active.discard(known)
        self._totals.add(stored.length, resumed=stored.resumed)
        return stored

    def _know(self, item: Item) -> Known | None:
        """What it is known by; None for what cannot be read again, or is sent twice."""
        if item.kind is not Kind.FILE:
            return None
        try:
            status = os.stat(item.path)
        except OSError as error:
            told = (error.strerror or str(error)).lower()
            raise LocalReadError(f"cannot read it: {told}") from error
        if not stat.S_ISREG(status.st_mode):
            raise LocalReadError("cannot read it: it is no file any more")
        path = os.path.abspath(item.path)
        name = self._order.name or item.relative
        token = self._order.token or ""
        link = token if tickets.is_ticket(token) else ""
        known = Known(path, status.st_size, status.st_mtime_ns, self._order.url, name, link)
        again = self._journal is not None and self._journal.has(known)
        return None if again or known in self._active else known

    async def _file(self, item: Item, known: Known) -> Stored:
        upload = self._find(known) if self._order.resume else None
        try:
            stored = await self._send(item, known, upload)
        except UploadGone as error:
            self._states.forget(known)
            if upload is None and error.reason in ("cancelled", "deleted"):
                raise
            self._reporter.say(f"{item.path}: {error.message}; starting anew")
            stored = await self._send(item, known, None)
        if self._journal is not None:
            note = partial(self._note, self._journal, known, stored.id)
            await trio.to_thread.run_sync(note, limiter=self._writing)
        self._states.forget(known)
        return stored

    def _find(self, known: Known) -> str | None:
        stored = self._journal.find(known) if self._journal is not None else None
        return stored or self._states.find(known)

    async def _stream(self, item: Item) -> Stored:
        if item.kind is Kind.STREAM and _has_a_name(item.path):
            self._reporter.say(f"{item.path} is a named pipe: waiting for somebody to write to it")
        stored = await self._send(item, None, None)
        if item.kind is Kind.STDIN and self._order.name is None:
            self._reporter.say(f"standard input is stored as {item.name!r}, for want of a name")
            self._reporter.say(f"→ uploadd put - --name NAME {self._order.url}")
        return stored

    async def _send(self, item: Item, known: Known | None, upload: str | None) -> Stored:
        name = self._order.name or item.name
        shown = _Shown(
            self._reporter.meter(name, known.size if known else None),
            self._totals,
            None if upload else 0,
        )
        begun: Callable[[str], None] | None = partial(self._remember, known) if known else None
        try:
            return await self._client.upload(
                0 if item.path == STDIN else item.path,
                name=name,
                metadata={"relativePath": item.relative} if item.relative else None,
                resume=upload,
                digest=await _digest(item.path) if self._order.checksum and known else None,
                progress=shown.show,
                begun=begun,
            )
        except (Rejected, LocalFileChanged) as error:
            if known is not None and not error.retryable:
                self._states.forget(known)  # it would only happen again
            raise
        except ValueError as error:  # a name that does not fit into a message
            raise Rejected("bad-name", str(error), "rename it, or use --name") from error
        finally:
            shown.end()

    def _note(self, journal: Journal, known: Known, upload: str) -> None:
        try:
            journal.add(known, upload)
        except OSError as error:
            self._forgetful(error)

    def _remember(self, known: Known, upload: str) -> None:
        try:
            self._states.save(known, upload)
        except OSError as error:
            self._forgetful(error)

    def _forgetful(self, error: OSError) -> None:
        if not self._told:
            self._told = True
            told = (error.strerror or str(error)).lower()
            self._reporter.say(f"cannot remember what is sent: {told}; interrupted, it starts anew")
            self._reporter.say("→ set XDG_STATE_HOME to a folder that you can write to")


class _Shown:
    """How far one file is, on its *meter* and in the *totals*; *first*: what was there before."""

    def __init__(self, meter: Meter, totals: Totals, first: int | None) -> None:
        self._meter, self._totals = meter, totals
        self._moved = first  # up to where it is counted as moved, or was there
        self._durable = 0

    def show(self, progress: Progress) -> None:
        """The newest numbers."""
        if self._moved is None:
            self._moved = progress.stored
        self._totals.moved += progress.stored - self._moved
        self._moved = progress.stored
        self._totals.durable += progress.stored - self._durable
        self._durable = progress.stored
        self._meter.show(*progress)

    def end(self) -> None:
        """It is under way no more."""
        self._meter.remove()


def _has_a_name(path: str) -> bool:
    """Whether *path* is a pipe that others can open too, other than ``<(command)``."""
    try:
        return stat.S_ISFIFO(os.stat(os.path.realpath(path)).st_mode)
    except OSError:
        return False


async def _digest(path: str) -> Digest:
    """The SHA-256 of the file, read once before it is read to be sent."""
    digest = hashlib.sha256()
    try:
        async with await trio.open_file(path, "rb") as file:
            while data := await file.read(HASH_STEP):
                await trio.to_thread.run_sync(digest.update, data)
    except OSError as error:
        raise LocalReadError(f"cannot read it: {(error.strerror or str(error)).lower()}") from error
    return Digest("sha-256", digest.digest())
