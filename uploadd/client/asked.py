"""From what argparse found on the command line of ``uploadd put`` to an Order."""

from __future__ import annotations

import argparse
import os
import re
import shlex
from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from uploadd.client import address, amounts, command
from uploadd.client.command import DEFAULT_URL, UsageError
from uploadd.client.order import Order, program
from uploadd.client.patterns import Patterns
from uploadd.client.selection import STDIN
from uploadd.protocol.wsmessages import MAX_NAME

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
        line = _typed(list(args.items[:-1]), "http://127.0.0.1:8080")
        raise UsageError(str(error), line) from error
    _check(args, files, url)
    Patterns(args.exclude)  # to refuse what is none before anything begins
    rate = newer = None
    newer_text = ""
    if args.limit_rate is not None:
        rate = _meant(amounts.rate, args.limit_rate, "--limit-rate", "5M")
    if args.newer is not None:
        newer, newer_text = _meant(amounts.moment, args.newer, "--newer", "2d")
    return Order(
        files=files,
        url=url,
        token=command.token(args) or link,
        token_file=args.token_file,
        jobs=args.jobs,
        name=args.name,
        resume=not args.no_resume,
        checksum=args.checksum,
        rate=rate,
        rate_text=args.limit_rate or "",
        exclude=tuple(args.exclude),
        newer=newer,
        newer_text=newer_text,
        watch=args.watch,
        settle=_meant(amounts.seconds, args.settle, "--settle", "5s"),
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


def _check(args: argparse.Namespace, files: list[str], url: str) -> None:
    """Raises UsageError, which says what to type with the words that were typed."""
    if args.watch is not None:
        _check_watch(args, files, url)
        return
    if not files:
        raise UsageError("which files?", f"uploadd put FILE... {url}")
    if _LIKE_A_URL.fullmatch(files[-1]) and not os.path.exists(files[-1]):
        host = re.sub(r"^https?:/*", "", files[-1])
        again = shlex.join([program(), "put", *(files[:-1] or ["FILE"]), f"http://{host}"])
        raise UsageError(f"{files[-1]} is no file; a server is written http://{host}", again)
    if args.name is not None:
        _check_name(args.name, files, url)
    if files.count(STDIN) > 1:
        raise UsageError("there is one standard input", _typed(list(dict.fromkeys(files)), url))
    if args.jobs < 1:
        raise UsageError("--jobs is at least 1", _typed(["--jobs", "1", *files], url))


def _check_name(name: str, files: list[str], url: str) -> None:
    one = _typed(["--name", name, files[0]], url)
    if len(files) > 1:
        raise UsageError(f"one --name for {len(files)} files", one)
    if os.path.isdir(files[0]):
        raise UsageError(f"--name is for one file, {files[0]} is a folder", _typed(files, url))
    if not name or len(os.fsencode(name)) > MAX_NAME:
        raise UsageError(
            f"a name has 1 to {MAX_NAME} bytes", _typed(["--name", "NAME", *files], url)
        )


def _check_watch(args: argparse.Namespace, files: list[str], url: str) -> None:
    line = _typed(["--watch", args.watch], url)
    if files:
        raise UsageError(f"--watch {args.watch}, or {shlex.join(files)}?", line)
    if args.name is not None or args.dry_run:
        raise UsageError("--watch goes with neither --name nor --dry-run", line)
    if args.jobs < 1:
        raise UsageError("--jobs is at least 1", line)
    if not os.path.isdir(args.watch):
        raise UsageError(f"{args.watch} is no folder", f"mkdir {shlex.quote(args.watch)}")


def _typed(words: list[str], url: str) -> str:
    return shlex.join([program(), "put", *words, url])
