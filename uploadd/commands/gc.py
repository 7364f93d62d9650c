"""``uploadd gc`` and ``uploadd verify``: what is not needed any more, and what is damaged."""

from __future__ import annotations

import argparse
import os
import sqlite3
import sys
from collections import Counter
from itertools import chain

import msgspec

from uploadd.commands.upkeep import change, command, look
from uploadd.config import Config
from uploadd.protocol.saying import plural, size

DAMAGED = 1
"""The exit code of verify when a file is not what it was."""
AT_ONCE = 16
"""Files that are looked at until something is said of them."""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    gc = commands.add_parser(
        "gc",
        help="remove what has expired; the daemon does so by itself every minute",
        description="Remove unfinished uploads that nobody went on with for storage.keep_unfinished"
        ", and published files after storage.keep_finished.",
    )
    gc.add_argument("-n", "--dry-run", action="store_true", help="say what, and remove nothing")
    gc.add_argument("--json", action="store_true", help="a line of JSON each")
    command(gc, _gc)
    verify = commands.add_parser(
        "verify",
        help="read published files and say which are damaged",
        description="Read every published file. The first time the checksums of its segments are"
        " noted; from then on they are compared, and so is the digest it was uploaded with.",
        epilog="exit codes: 0 all are good or noted; 1 one is damaged, missing or unreadable",
    )
    verify.add_argument("--upload", metavar="ID", action="append", help="only this one; again")
    verify.add_argument("-q", "--quiet", action="store_true", help="say only what is not good")
    verify.add_argument("--json", action="store_true", help="a line of JSON each")
    command(verify, _verify)


def _gc(args: argparse.Namespace, config: Config) -> int:
    found = change(config, "gc", dry=args.dry_run)
    for one in found:
        if args.json:
            print(msgspec.json.encode(one).decode())
        else:
            name = "".join(c if c.isprintable() else "?" for c in one["name"])
            days = f"{one['age'] / 86400:.1f} d"
            print(f"{one['id']}  {one['state']}  {size(one['held'])}  {days}  {name}")
    verb = "would be removed" if args.dry_run else "removed"
    total = sum(one["held"] for one in found)
    print(f"{plural(len(found), 'upload')} {verb}, {size(total)}", file=sys.stderr)
    return os.EX_OK


def _verify(args: argparse.Namespace, config: Config) -> int:
    counts: Counter[str] = Counter()
    ids = args.upload or look(config, _published)
    # Of those that were listed some may be deleted before it is their turn.
    fine = {"good", "noted"} if args.upload else {"good", "noted", "gone"}
    few = (ids[at : at + AT_ONCE] for at in range(0, len(ids), AT_ONCE))
    for verdict in chain.from_iterable(change(config, "verify", uploads=some) for some in few):
        counts[verdict["found"]] += 1
        sound = verdict["found"] in fine
        if args.json:
            print(msgspec.json.encode(verdict).decode(), flush=True)
        elif not (args.quiet and sound):
            detail = f": {verdict['detail']}" if verdict["detail"] else ""
            print(f"{verdict['found']:8}  {verdict['id']}  {verdict['path']}{detail}", flush=True)
    told = ", ".join(f"{count} {found}" for found, count in sorted(counts.items()))
    if not args.quiet:
        print(told or "no file is published", file=sys.stderr)
    return os.EX_OK if not counts.keys() - fine else DAMAGED


def _published(db: sqlite3.Connection) -> list[str]:
    order = "SELECT id FROM uploads WHERE state = 'published' ORDER BY created"
    return [id for (id,) in db.execute(order)]
