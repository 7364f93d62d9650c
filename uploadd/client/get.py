"""``uploadd get``: fetch a file; run again after anything, it goes on where it was."""

from __future__ import annotations

import argparse
import os
import re
import shlex
from functools import partial
from typing import Any, Final

import trio

from uploadd.client import address, command, exits
from uploadd.client.address import CONNECT_SECONDS, Address, Stream, open_stream, unavailable
from uploadd.client.command import UsageError
from uploadd.client.errors import (
    DigestMismatch,
    ServerUnavailable,
    UploadFailed,
    WrongAddress,
)
from uploadd.client.http import Exchange, Response, name_in_url
from uploadd.client.nursery import open_plain_nursery
from uploadd.client.pace import Backoff
from uploadd.client.part import Part, exists
from uploadd.client.problem import failure
from uploadd.client.reporter import Meter, Reporter
from uploadd.client.session import FIRST_PATIENCE, PATIENCE
from uploadd.client.totals import Totals
from uploadd.protocol import saying
from uploadd.protocol.names import sanitise

MAX_PROBLEM: Final = 64 << 10
USAGE: Final = "uploadd get URL [-o FILE]"
_OF_A_FILE: Final = re.compile(r"[^?]*/f/[^/?]+(/[^/?]*)?(\?.*)?")


def add_parser(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Add ``get`` to the commands."""
    parser = subparsers.add_parser(
        "get",
        help="download a file",
        usage="uploadd get [OPTION]... URL",
        description=(
            "Download a file that uploadd stores, by the URL that uploadd put printed:"
            " http://host/f/<id>/<name>.\nPrints the name of the file here."
            " Interrupted, the same command goes on."
        ),
        epilog=exits.HELP,
    )
    command.add_common(parser)
    parser.add_argument("url", metavar="URL", help="as uploadd put printed it")
    parser.add_argument("-o", "--output", metavar="FILE", help="where to, a file or a folder")
    parser.add_argument("--force", action="store_true", help="overwrite a file that is there")
    parser.set_defaults(run=main)


def main(args: argparse.Namespace) -> int:
    """Run ``uploadd get``; the exit code (``client/exits.py``)."""
    try:
        where = file_at(args.url)
        token = command.token(args)
    except (UsageError, ValueError) as error:
        return command.misused("get", error, USAGE)
    with command.screen(args) as screen:
        download = Download(where, token, args, screen)
        return command.run(download.run, download.interrupted)


def file_at(url: str) -> Address:
    """Where the file is.  Raises ValueError; UsageError: *url* is that of something else."""
    where = address.parse(url)
    if _OF_A_FILE.fullmatch(where.path) is None:
        raise UsageError(
            f"{url} is not the URL of a stored file, which has /f/<id> in it",
            "uploadd get URL, as uploadd put printed it; for other pages: "
            + shlex.join(["curl", "-O", url]),
        )
    return where


class Download:
    """One file on its way here."""

    def __init__(
        self, where: Address, token: str | None, args: argparse.Namespace, reporter: Reporter
    ) -> None:
        self._where, self._args, self._reporter = where, args, reporter
        self._output, self._force = args.output, args.force
        self._fields = [("Authorization", f"Bearer {token}")] if token else []
        self._part = Part(self._target(name_in_url(where)))
        self._meter: Meter | None = None
        self._first: int | None = None  # bytes that were here before
        self._met = False
        self._backoff = Backoff(FIRST_PATIENCE)
        self._totals = Totals()
        self._totals.expected = 1

    def _target(self, name: str) -> str:
        if self._output is None:
            return name
        return os.path.join(self._output, name) if os.path.isdir(self._output) else self._output

    async def run(self) -> int:
        """Fetch it; the exit code."""
        try:
            async with open_plain_nursery() as nursery:
                nursery.start_soon(self._reporter.follow, self._totals)
                await self._fetch()
        except UploadFailed as error:
            self._reporter.fail(self._where.url, error)
            return exits.of(error)
        finally:
            if self._meter is not None:
                self._meter.remove()
        self._summary()
        return exits.OK

    async def _fetch(self) -> None:
        while True:
            try:
                if await self._attempt():
                    return
            except ServerUnavailable as error:
                await self._pause(error)

    async def _pause(self, error: ServerUnavailable) -> None:
        delay = self._backoff.next(trio.current_time())
        if delay is None or (isinstance(error, WrongAddress) and not self._met):
            raise error
        self._reporter.say(f"{error.message}; trying again {saying.delay(delay)}")
        await trio.sleep(delay)

    async def _attempt(self) -> bool:
        """One request; whether the file is whole now.  If not, the next asks for something else."""
        self._check_target()
        stream = await self._connect()
        try:
            exchange = Exchange(self._where, stream)
            response = await exchange.get(self._fields + self._part.conditions())
            self._met, self._backoff.patience = True, PATIENCE
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
        part, totals = self._part, self._totals
        if self._meter is None:
            self._meter = self._reporter.meter(os.path.basename(part.target), total)
        totals.counted, totals.bytes = total is not None, total or 0
        while data := await exchange.read():
            await trio.to_thread.run_sync(part.append, data)
            self._backoff.moved()
            self._meter.show(part.size, part.size, total)
            totals.durable, totals.moved = part.size, totals.moved + len(data)

    # --- what is said --------------------------------------------------------------------------

    def _summary(self) -> None:
        size, first, totals = self._part.size, self._first or 0, self._totals
        resumed = f", resumed at {saying.size(first)}" if first else ""
        self._reporter.say(
            f"✓ {self._part.target}, {saying.size(size)} in {saying.duration(totals.seconds)}"
            f" ({saying.size(totals.rate)}/s){resumed}"
        )
        self._reporter.result(self._part.target)

    def interrupted(self, code: int) -> None:
        """Say how to go on."""
        kept = f"; {saying.size(self._part.size)} are kept" if self._part.resumable else ""
        self._reporter.insist(f"interrupted{kept}")
        args = self._args
        words = ["uploadd", "get"]
        words += ["--force"] if self._force else []
        words += ["-o", self._output] if self._output else []
        words += ["--quiet"] if args.quiet else []
        words += [] if args.progress == "auto" else [f"--progress={args.progress}"]
        words += ["--token-file", args.token_file] if args.token_file else []
        self._reporter.insist(f"→ {shlex.join([*words, self._where.url])}")
