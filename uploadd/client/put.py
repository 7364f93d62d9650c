"""``uploadd put``: store files; run again after anything, it goes on where it was."""

from __future__ import annotations

import argparse
import os
import re
import sys
from typing import Any, Final

from uploadd.client import address, command, exits
from uploadd.client.batch import STDIN, Batch, Order
from uploadd.client.command import DEFAULT_URL, UsageError
from uploadd.client.report import Screen


class _Parser(argparse.ArgumentParser):
    """Options may stand between files: ``put - --name x URL``."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> tuple[Any, list[str]]:
        """As in argparse, with what it leaves over for a parser of files alone."""
        parsed, left = super().parse_known_args(args, namespace)
        parsed.items += [word for word in left if word == STDIN or not word.startswith("-")]
        return parsed, [word for word in left if word != STDIN and word.startswith("-")]


_LIKE_A_URL: Final = re.compile(r"https?:.*|[\w.-]+:\d+(/.*)?|localhost(/.*)?")


def add_parser(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Add ``put`` to the commands."""
    parser = subparsers.add_parser(
        "put",
        help="upload files",
        usage="uploadd put [OPTION]... FILE... [URL]",
        description="Upload files; prints one URL for each. Interrupted, the same command resumes.",
    )
    parser.__class__ = _Parser  # the class of subparsers is not for us to choose
    parser.add_argument(
        "items",
        metavar="FILE... [URL]",
        nargs="+",
        help=f"files, - for standard input; the server (else $UPLOADD_URL, {DEFAULT_URL})",
    )
    parser.add_argument("--jobs", type=int, default=3, metavar="N", help="files at once (3)")
    parser.add_argument("--name", help="store the one file under this name")
    parser.add_argument("--no-resume", action="store_true", help="start anew in any case")
    parser.add_argument("--checksum", action="store_true", help="let the server compare SHA-256")
    command.add_common(parser)
    parser.set_defaults(run=main)


def main(args: argparse.Namespace) -> int:
    """Run ``uploadd put``; the exit code (``client/exits.py``)."""
    try:
        order = order_of(args)
    except (UsageError, ValueError) as error:
        print(f"uploadd put: {error}\n→ uploadd put FILE... [URL]", file=sys.stderr)
        return exits.USAGE
    with Screen(bars=not args.no_progress, quiet=args.quiet) as screen:
        batch = Batch(order, screen)
        return command.run(batch.run, batch.interrupted)


def order_of(args: argparse.Namespace) -> Order:
    """What the command line asks for.  Raises UsageError, ValueError."""
    files = list(args.items)
    url = files.pop() if "://" in files[-1] else os.environ.get("UPLOADD_URL") or DEFAULT_URL
    if not files:
        raise UsageError("which files?")
    if _LIKE_A_URL.fullmatch(files[-1]) and not os.path.exists(files[-1]):
        host = re.sub(r"^https?:/*", "", files[-1])
        raise UsageError(f"{files[-1]} is no file; a server is written http://{host}")
    if args.name is not None and len(files) > 1:
        raise UsageError(f"one --name for {len(files)} files")
    if files.count(STDIN) > 1:
        raise UsageError("there is one standard input")
    if args.jobs < 1:
        raise UsageError("--jobs is at least 1")
    return Order(
        files,
        address.parse(url).url,
        command.token(args),
        args.jobs,
        args.name,
        not args.no_resume,
        args.checksum,
    )
