"""From what argparse found on the command line of ``uploadd put`` to an Order."""

from __future__ import annotations

import argparse
import os
import re
import shlex
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final, TypeVar

from uploadd.client import address, amounts, command
from uploadd.client.command import DEFAULT_URL, UsageError
from uploadd.client.order import Order
from uploadd.client.patterns import Patterns
from uploadd.client.selection import STDIN
from uploadd.protocol.names import MAX_NAME

T = TypeVar("T")

_LIKE_A_URL: Final = re.compile(r"https?:.*|[\w.-]+:\d+(/.*)?|localhost(/.*)?")


def server_of(items: Sequence[str]) -> tuple[list[str], str | None]:
    """The words before the server, and the server if the last word is one.  Raises ValueError."""
    words = list(items)
    url = words.pop() if words and "://" in words[-1] else None
    return words, address.parse(url).url if url is not None else None


def order_of(args: argparse.Namespace) -> Order:
    """What the command line asks for.  Raises UsageError, ValueError."""
    try:
        files, said = server_of(args.items)
        url = said or address.parse(os.environ.get("UPLOADD_URL") or DEFAULT_URL).url
        link = address.ticket_of(args.items[-1]) if said else None
    except ValueError as error:
        typed = _typed(args, list(args.items[:-1]), DEFAULT_URL)
        raise UsageError(str(error), typed.line(typed.files)) from error
    typed = _typed(args, files, url)
    _check(typed, files, dry_run=args.dry_run)
    Patterns(args.exclude)  # to refuse what is none before anything begins
    rate = newer = None
    if args.limit_rate is not None:
        rate = _meant(amounts.rate, args.limit_rate, "--limit-rate", "5M")
    if args.newer is not None:
        newer, text = _meant(amounts.moment, args.newer, "--newer", "2d")
        typed = replace(typed, newer_text=text)
    token = command.token(args)
    return replace(
        typed,
        token=token or link,
        linked=token is None and link is not None,
        rate=rate,
        newer=newer,
        settle=_meant(amounts.seconds, args.settle, "--settle", "5s"),
    )


def _typed(args: argparse.Namespace, files: list[str], url: str) -> Order:
    """What was typed, not read yet: what it asks for instead keeps the rest of the line."""
    return Order(
        files=files,
        url=url,
        token_file=args.token_file,
        jobs=args.jobs,
        name=args.name,
        resume=not args.no_resume,
        checksum=args.checksum,
        rate_text=args.limit_rate or "",
        exclude=tuple(args.exclude),
        newer_text=args.newer or "",
        watch=args.watch,
        settle_text=args.settle,
        json=args.json,
        quiet=args.quiet,
        progress=args.progress,
    )


def _meant(read: Callable[[str], T], text: str, option: str, example: str) -> T:
    try:
        return read(text)
    except ValueError as error:
        raise UsageError(str(error), f"uploadd put {option} {example} ...") from error


def _check(typed: Order, files: list[str], *, dry_run: bool) -> None:
    """Raises UsageError, which says what to type with the words that were typed."""
    if typed.watch is not None:
        _check_watch(typed, typed.watch, files, dry_run=dry_run)
        return
    if not files:
        raise UsageError("which files?", f"uploadd put FILE... {typed.url}")
    if _LIKE_A_URL.fullmatch(files[-1]) and not os.path.exists(files[-1]):
        host = re.sub(r"^https?:/*", "", files[-1])
        again = replace(typed, url=f"http://{host}").line(files[:-1] or ["FILE"])
        raise UsageError(f"{files[-1]} is no file; a server is written http://{host}", again)
    if typed.name is not None:
        _check_name(typed, typed.name, files)
    if files.count(STDIN) > 1:
        raise UsageError("there is one standard input", typed.line(list(dict.fromkeys(files))))
    if typed.jobs < 1:
        raise UsageError("--jobs is at least 1", replace(typed, jobs=1).line(files))


def _check_name(typed: Order, name: str, files: list[str]) -> None:
    if len(files) > 1:
        raise UsageError(f"one --name for {len(files)} files", typed.line(files[:1]))
    if os.path.isdir(files[0]):
        line = replace(typed, name=None).line(files)
        raise UsageError(f"--name is for one file, {files[0]} is a folder", line)
    if not name or len(os.fsencode(name)) > MAX_NAME:
        line = replace(typed, name="NAME").line(files)
        raise UsageError(f"a name has 1 to {MAX_NAME} bytes", line)


def _check_watch(typed: Order, watch: str, files: list[str], *, dry_run: bool) -> None:
    line = replace(typed, name=None, jobs=max(1, typed.jobs)).line([])
    if files:
        raise UsageError(f"--watch {watch}, or {shlex.join(files)}?", line)
    if typed.name is not None or dry_run:
        raise UsageError("--watch goes with neither --name nor --dry-run", line)
    if typed.jobs < 1:
        raise UsageError("--jobs is at least 1", line)
    if not os.path.isdir(watch):
        raise UsageError(f"{watch} is no folder", f"mkdir {shlex.quote(watch)}")
