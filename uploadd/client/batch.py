"""The files of one ``uploadd put``: stored several at a time, told in the order given."""

from __future__ import annotations

import hashlib
import os
import shlex
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Final

import trio

from uploadd.client import exits, report, state
from uploadd.client.errors import (
    LocalFileChanged,
    LocalReadError,
    NotAuthorised,
    Rejected,
    ServerUnavailable,
    UploadFailed,
    UploadGone,
)
from uploadd.client.report import Bar, Screen
from uploadd.client.session import Client, Stored, open_client
from uploadd.client.state import Known, States
from uploadd.client.uploading import Progress
from uploadd.protocol.wsmessages import Digest

STDIN: Final = "-"
HASH_STEP: Final = 8 << 20


@dataclass(frozen=True, slots=True)
class Order:
    """What the command line asks for."""

    files: list[str]
    url: str
    token: str | None
    jobs: int
    name: str | None
    resume: bool
    checksum: bool


class Batch:
    """The files of one command: stored *jobs* at a time, told in the order given."""

    def __init__(self, order: Order, screen: Screen) -> None:
        self._order = order
        self._screen = screen
        self._states = States(state.directory())
        self._began = time.monotonic()
        self.results: list[Stored | int | None] = [None] * len(order.files)  # int: an exit code
        self._told = 0  # results of which the URL, if they have one, is printed
        self._active: set[Known] = set()
        self._resumed = self._moved = 0
        self._hopeless: UploadFailed | None = None  # no other file would fare better

    async def run(self) -> int:
        """Store them all; the exit code."""
        todo = iter(enumerate(self._order.files))
        async with (
            open_client(self._order.url, self._order.token, tell=self._screen.say) as client,
            trio.open_nursery() as workers,
        ):
            for _ in range(min(self._order.jobs, len(self._order.files))):
                workers.start_soon(self._work, client, todo)
        self._summary()
        codes = [result for result in self.results if isinstance(result, int)]
        if not codes:
            return exits.OK
        return exits.of_all(codes) if len(codes) == len(self.results) else exits.FAILED

    async def _work(self, client: Client, todo: Iterator[tuple[int, str]]) -> None:
        for index, path in todo:
            try:
                if self._hopeless is not None:
                    self.results[index] = exits.of(self._hopeless)
                    continue
                self.results[index] = await self._store(client, path)
            except UploadFailed as error:
                self._failed(index, path, error)
            self._tell()

    def _failed(self, index: int, path: str, error: UploadFailed) -> None:
        self.results[index] = exits.of(error)
        if self._hopeless is None:
            self._screen.fail(path, error)
        if isinstance(error, ServerUnavailable | NotAuthorised):
            self._hopeless = error

    # --- one file ------------------------------------------------------------------------------

    async def _store(self, client: Client, path: str) -> Stored:
        known = await trio.to_thread.run_sync(self._know, path)
        if known is None:
            return await self._send(client, path, None, None)
        upload = self._states.find(known) if self._order.resume else None
        self._active.add(known)
        try:
            stored = await self._send(client, path, known, upload)
            self._resumed += upload is not None
        except UploadGone as error:
            self._states.forget(known)
            if upload is None and error.reason in ("cancelled", "deleted"):
                raise
            self._screen.say(f"{path}: {error.message}; starting anew")
            stored = await self._send(client, path, known, None)
        finally:
            self._active.discard(known)
        self._states.forget(known)
        return stored

    def _know(self, path: str) -> Known | None:
        """What *path* is known by; None for what cannot be read again, or is under way already."""
        if path == STDIN:
            return None
        try:
            status = os.stat(path)
        except OSError as error:
            told = (error.strerror or str(error)).lower()
            raise LocalReadError(f"cannot read it: {told}") from error
        if not stat.S_ISREG(status.st_mode):
            return None
        known = Known(os.path.abspath(path), status.st_size, status.st_mtime_ns, self._order.url)
        return None if known in self._active else known

    async def _send(
        self, client: Client, path: str, known: Known | None, upload: str | None
    ) -> Stored:
        bar = self._screen.bar(_name(path), known.size if known else None)
        shown = _Shown(bar, None if upload else 0)
        try:
            return await client.upload(
                0 if path == STDIN else path,
                name=self._order.name or _name(path),
                resume=upload,
                digest=await _digest(path) if self._order.checksum and known else None,
                progress=shown.show,
                begun=partial(self._remember, known) if known else None,
            )
        except (Rejected, LocalFileChanged) as error:
            if known is not None and not error.retryable:
                self._states.forget(known)  # it would only happen again
            raise
        finally:
            self._moved += shown.moved
            if bar is not None:
                bar.remove()

    def _remember(self, known: Known, upload: str) -> None:
        try:
            self._states.save(known, upload)
        except OSError as error:
            self._screen.say(f"cannot remember this upload: {error}; interrupted, it starts anew")

    # --- what is said --------------------------------------------------------------------------

    def _tell(self) -> None:
        """Print the URLs that have their turn."""
        while self._told < len(self.results):
            result = self.results[self._told]
            if result is None:
                return
            if isinstance(result, Stored):
                self._screen.result(result.url)
            self._told += 1

    def _summary(self) -> None:
        stored = [result for result in self.results if isinstance(result, Stored)]
        failed = len(self.results) - len(stored)
        seconds = time.monotonic() - self._began
        self._screen.say(
            f"{'✗' if failed else '✓'} {report.plural(len(stored), 'file')},"
            f" {report.size(sum(result.length for result in stored))}"
            f" in {report.duration(seconds)}"
            f" ({report.size(self._moved / max(seconds, 1e-3))}/s),"
            f" {self._resumed} resumed, {failed} failed"
        )

    def interrupted(self) -> None:
        """Say how to go on."""
        left = [
            path
            for path, result in zip(self._order.files, self.results, strict=True)
            if not isinstance(result, Stored)
        ]
        done = f"{len(self.results) - len(left)} of {report.plural(len(self.results), 'file')}"
        self._screen.insist(f"interrupted: {done} stored; what was sent of the rest is kept")
        again = [path for path in left if path != STDIN]
        if again:
            name = ["--name", self._order.name] if self._order.name else []
            line = shlex.join(["uploadd", "put", *name, *again, self._order.url])
            self._screen.insist(f"→ {line}")


class _Shown:
    """How far one file is, on *bar* if there is one; *first*: what was stored before, if known."""

    def __init__(self, bar: Bar | None, first: int | None) -> None:
        self._bar = bar
        self._first = first
        self.moved = 0  # bytes that became durable meanwhile

    def show(self, progress: Progress) -> None:
        """The newest numbers."""
        if self._first is None:
            self._first = progress.stored
        self.moved = progress.stored - self._first
        if self._bar is not None:
            self._bar.show(*progress)


def _name(path: str) -> str:
    """What the server is told that the file is called; names are UTF-8 there."""
    if path == STDIN:
        return "stdin"
    return os.fsencode(os.path.basename(path)).decode("utf-8", "replace")


async def _digest(path: str) -> Digest:
    """The SHA-256 of the file, read once before it is read to be sent."""
    digest = hashlib.sha256()
    try:
        async with await trio.open_file(path, "rb") as file:
            while data := await file.read(HASH_STEP):
                await trio.to_thread.run_sync(digest.update, data)
    except OSError as error:
        raise LocalReadError(f"cannot read it: {error.strerror}") from error
    return Digest("sha-256", digest.digest())
