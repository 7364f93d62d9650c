"""``uploadd get``: fetch a file; run again after anything, it goes on where it was."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
import time
from functools import partial
from typing import Any, Final

import trio

from uploadd.client import address, command, exits, report
from uploadd.client.address import CONNECT_SECONDS, Address, Stream, open_stream, unavailable
from uploadd.client.command import UsageError
from uploadd.client.errors import DigestMismatch, ServerUnavailable, UploadFailed
from uploadd.client.http import Exchange, Response, name_in_url
from uploadd.client.pace import Backoff
from uploadd.client.part import Part, exists
from uploadd.client.problem import failure
from uploadd.client.report import Bar, Screen
from uploadd.client.session import FIRST_PATIENCE, PATIENCE
from uploadd.protocol.names import sanitise

MAX_PROBLEM: Final = 64 << 10


def add_parser(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Add ``get`` to the commands."""
    parser = subparsers.add_parser(
        "get",
        help="download a file",
        description="Download a file; prints its name. Interrupted, the same command resumes.",
    )
    parser.add_argument("url", metavar="URL", help="as uploadd put printed it")
    parser.add_argument("-o", "--output", metavar="FILE", help="where to, a file or a folder")
    parser.add_argument("--force", action="store_true", help="overwrite a file that is there")
    command.add_common(parser)
    parser.set_defaults(run=main)


def main(args: argparse.Namespace) -> int:
    """Run ``uploadd get``; the exit code (``client/exits.py``)."""
    try:
        where = address.parse(args.url)
        token = command.token(args)
    except (UsageError, ValueError) as error:
        print(f"uploadd get: {error}\n→ uploadd get URL [-o FILE]", file=sys.stderr)
        return exits.USAGE
    with Screen(bars=not args.no_progress, quiet=args.quiet) as screen:
        download = Download(where, token, args.output, screen, force=args.force)
        return command.run(download.run, download.interrupted)


class Download:
    """One file on its way here."""

    def __init__(
        self, where: Address, token: str | None, output: str | None, screen: Screen, *, force: bool
    ) -> None:
        self._where, self._output, self._screen, self._force = where, output, screen, force
        self._fields = [("Authorization", f"Bearer {token}")] if token else []
        self._part = Part(self._target(name_in_url(where)))
        self._bar: Bar | None = None
        self._first: int | None = None  # bytes that were here before
        self._backoff = Backoff(FIRST_PATIENCE)

    def _target(self, name: str) -> str:
        if self._output is None:
            return name
        return os.path.join(self._output, name) if os.path.isdir(self._output) else self._output

    async def run(self) -> int:
        """Fetch it; the exit code."""
        began = time.monotonic()
        try:
            while True:
                try:
                    if await self._attempt():
                        break
                except ServerUnavailable as error:
                    await self._pause(error)
        except UploadFailed as error:
            self._screen.fail(self._where.url, error)
            return exits.of(error)
        self._summary(time.monotonic() - began)
        return exits.OK

    async def _pause(self, error: ServerUnavailable) -> None:
        delay = self._backoff.next(trio.current_time())
        if delay is None:
            raise error
        self._screen.say(f"{error.message}; trying again in {delay:.1f} s")
        await trio.sleep(delay)

    async def _attempt(self) -> bool:
        """One request; whether the file is whole now.  If not, the next asks for something else."""
        self._check_target()
        stream = await self._connect()
        try:
            exchange = Exchange(self._where, stream)
            response = await exchange.get(self._fields + self._part.conditions())
            self._backoff.patience = PATIENCE
            if response.status not in (200, 206, 416):
                body = await exchange.read_all(MAX_PROBLEM)
                raise failure(response.status, body, self._where)
            if response.status == 200 and self._moved_on(response):
                return False
            return await self._receive(exchange, response)
        finally:
            self._part.close()
            await trio.aclose_forcefully(stream)

    async def _connect(self) -> Stream:
        with trio.move_on_after(CONNECT_SECONDS):
            return await open_stream(self._where)
        raise unavailable(self._where, f"no answer within {CONNECT_SECONDS:.0f} s")

    def _check_target(self) -> None:
        if not self._force and os.path.lexists(self._part.target):
            raise exists(self._part.target)

    def _moved_on(self, response: Response) -> bool:
        """Take the name that *response* gives; whether of that there is a part to go on with."""
        told = response.file_name()
        target = self._target(sanitise(told, "download")) if told else self._part.target
        if target == self._part.target:
            return False
        self._part = Part(target)
        self._check_target()
        return self._part.resumable and self._part.etag == response.etag

    async def _receive(self, exchange: Exchange, response: Response) -> bool:
        """Write the body of *response* where it belongs; whether the file is whole now."""
        part = self._part
        start, total = response.span
        behind = total if response.status == 416 else start
        if response.status != 200 and behind != part.size:
            part.forget()  # it is a part of nothing that is there
            return False
        anew = response.status == 200
        await trio.to_thread.run_sync(partial(part.open, anew=anew, etag=response.etag))
        if self._first is None or anew:
            self._first = part.size
        if response.status != 416:  # it asked for what is behind the end: nothing is missing
            await self._write(exchange, total)
        if total is not None and part.size != total:
            part.forget()
            raise DigestMismatch(f"{part.size} bytes came, {total} were announced")
        await trio.to_thread.run_sync(partial(part.publish, force=self._force))
        return True

    async def _write(self, exchange: Exchange, total: int | None) -> None:
        part = self._part
        self._bar = self._bar or self._screen.bar(os.path.basename(part.target), total)
        while data := await exchange.read():
            await trio.to_thread.run_sync(part.append, data)
            self._backoff.moved()
            if self._bar is not None:
                self._bar.show(part.size, part.size, total)

    # --- what is said --------------------------------------------------------------------------

    def _summary(self, seconds: float) -> None:
        if self._bar is not None:
            self._bar.remove()
        size, first = self._part.size, self._first or 0
        resumed = f", resumed at {report.size(first)}" if first else ""
        self._screen.say(
            f"✓ {self._part.target}, {report.size(size)} in {report.duration(seconds)}"
            f" ({report.size((size - first) / max(seconds, 1e-3))}/s){resumed}"
        )
        self._screen.result(self._part.target)

    def interrupted(self) -> None:
        """Say how to go on."""
        kept = f"; {report.size(self._part.size)} are kept" if self._part.resumable else ""
        self._screen.insist(f"interrupted{kept}")
        output = ["-o", self._output] if self._output else []
        force = ["--force"] if self._force else []
        line = shlex.join(["uploadd", "get", *force, *output, self._where.url])
        self._screen.insist(f"→ {line}")
