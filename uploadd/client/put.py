"""``uploadd put``: store files; run again after anything, it goes on where it was."""

from __future__ import annotations

import argparse
import os
from functools import partial
from typing import Any, Final

from uploadd.client import command, dryrun, exits, unfinished
from uploadd.client.asked import order_of, server_of
from uploadd.client.batch import Batch
from uploadd.client.command import DEFAULT_URL, UsageError
from uploadd.client.memory import Memory, Watched
from uploadd.client.order import JOBS, SETTLE, Order
from uploadd.client.output import output
from uploadd.client.screen import Screen
from uploadd.client.session import open_client
from uploadd.client.state import directory
from uploadd.client.watching import Watcher

USAGE: Final = "uploadd put FILE... [URL]"

_DESCRIPTION: Final = """\
Upload files and folders; prints one URL for each file, in the order given and sorted within
folders. Interrupted, the same command goes on where it ended, and stores nothing twice.
"""

_EPILOG: Final = f"""\
folders:
  put photos URL    stores photos/a.jpg, photos/2024/b.jpg, ...
  put photos/ URL   stores a.jpg, 2024/b.jpg, ... (as rsync has it)
  Symbolic links are followed when named here, not inside folders. Empty folders are left out.

--exclude GLOB, as in .gitignore, may come several times:
  *.o      files and folders of that name, at any depth; a folder is left out with all in it
  /tmp     only directly in the folder named here;  a/*.o  the same: a / not at the end anchors
  cache/   only folders;  **/ any folders, also none;  /** all that is in it
  * ? [a-z] [!a-z] match no /, \\* is a star. There is no "!". Files named here are left out by
  their name, folders named here never.

--watch DIR looks at the folder every two seconds or so, which works on network file systems
too, and stores what appears or changes once it stays the same for --settle. It remembers what
it stored, waits for a server that is away, and runs until Ctrl-C.

"resumed" counts the files of which some bytes were there already: from an earlier command, or
from before a reconnect in this one. The speed is that of the bytes that moved now. What is
remembered lies in $XDG_STATE_HOME/uploadd (~/.local/state/uploadd).

{exits.HELP}"""


def add_parser(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Add ``put`` to the commands."""
    parser = subparsers.add_parser(
        "put",
        help="upload files and folders",
        usage="uploadd put [OPTION]... FILE... [URL]",
        description=_DESCRIPTION,
        epilog=_EPILOG,
    )
    command.add_common(parser)
    add = parser.add_argument
    add(
        "items",
        metavar="FILE... [URL]",
        nargs="*",
        help=f"files, folders, - for standard input; the server (else $UPLOADD_URL, {DEFAULT_URL})",
    )
    add("--name", help="store the one file, or standard input, under this name")
    add("--jobs", type=int, default=JOBS, metavar="N", help=f"files at once ({JOBS})")
    add("--limit-rate", metavar="RATE", help="bytes per second in all: 500K, 5M, 1G (K is 1024)")
    add("--exclude", metavar="GLOB", action="append", default=[], help="leave out; see below")
    add(
        "--newer",
        metavar="FILE|DATE",
        help="only files changed after: that file was, 2026-11-20, 2026-11-20T09:30, or 2d ago",
    )
    add("--no-resume", action="store_true", help="start anew in any case")
    add("--checksum", action="store_true", help="let the server compare SHA-256")
    add("--json", action="store_true", help="one JSON object for each file, and {summary: ...}")
    add("--dry-run", action="store_true", help="say what would be sent, and do not connect")
    add("--watch", metavar="DIR", help="store what appears or changes in DIR, until Ctrl-C")
    add("--settle", metavar="TIME", default=SETTLE, help=f"unchanged for so long ({SETTLE})")
    add("--list", action="store_true", help="show unfinished uploads (of these files)")
    add("--forget", action="store_true", help="forget unfinished uploads (of these files), or all")
    parser.set_defaults(run=main)


def main(args: argparse.Namespace) -> int:
    """Run ``uploadd put``; the exit code (``client/exits.py``)."""
    try:
        if args.list or args.forget:
            return _remembered(args)
        order = order_of(args)
    except (UsageError, ValueError) as error:
        return command.misused("put", error, USAGE)
    with command.screen(args) as screen:
        if args.dry_run:
            return _dry_run(order, screen)
        if order.watch is not None:
            return _watch(order, screen)
        batch = Batch(order, screen, output(screen, as_json=order.json))
        return command.run(batch.run, batch.interrupted)


def _remembered(args: argparse.Namespace) -> int:
    if args.list and args.forget:
        raise UsageError("--list or --forget?", "uploadd put --list")
    paths, server = server_of(args.items)
    screen = Screen(bars=False, quiet=args.quiet)
    try:
        if args.forget:
            return unfinished.forget(screen, paths, server)
        return unfinished.show(screen, paths, server, as_json=args.json)
    except OSError as error:
        told = f"cannot read what is remembered in {directory()}: {error.strerror}".lower()
        raise UsageError(told, f"ls -l {directory()}") from error


def _dry_run(order: Order, screen: Screen) -> int:
    try:
        return dryrun.dry_run(order, screen)
    except KeyboardInterrupt:
        return exits.INTERRUPTED


def _watch(order: Order, screen: Screen) -> int:
    assert order.watch is not None
    memory = Memory(directory(), os.path.abspath(order.watch), order.url)
    try:
        with memory:
            watcher = Watcher(order, screen, output(screen, as_json=order.json), memory)
            watcher.begin()
            return command.run(partial(_keep_watching, order, watcher), watcher.interrupted)
    except Watched:
        screen.insist(f"another uploadd watches {order.watch} for {order.url}")
        screen.insist("→ stop that one first")
        return exits.FAILED
    except OSError as error:
        screen.insist(f"cannot remember what is stored, in {directory()}: {error.strerror}")
        screen.insist("→ set XDG_STATE_HOME to a folder that you can write to")
        return exits.LOCAL


async def _keep_watching(order: Order, watcher: Watcher) -> int:
    async with open_client(order.url, order.token, tell=watcher.notice, rate=order.rate) as client:
        return await watcher.run(client)
