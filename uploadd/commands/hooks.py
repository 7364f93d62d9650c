"""``uploadd hooks ls|retry``: what hooks are still to be told, and dead letters."""

from __future__ import annotations

import argparse
import os
import sys

import msgspec

from uploadd.commands.upkeep import change, command, look
from uploadd.config import Config
from uploadd.outbox import lines
from uploadd.protocol.dates import format_date
from uploadd.protocol.saying import plural


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("hooks", help="look at what hooks were not told, and try again")
    verbs = parser.add_subparsers(required=True, metavar="ls|retry")
    ls = verbs.add_parser("ls", help="list what waits, and what was tried too often")
    ls.add_argument("--dead", action="store_true", help="only what was tried too often")
    ls.add_argument("--json", action="store_true", help="a line of JSON each, with the document")
    command(ls, _ls)
    retry = verbs.add_parser("retry", help="try dead letters again; the daemon does, if it runs")
    retry.add_argument(
        "--event", metavar="EVENT", action="append", help="only this one; may come again"
    )
    command(retry, _retry)


def _ls(args: argparse.Namespace, config: Config) -> int:
    found = [line for line in look(config, lines) if line.dead or not args.dead]
    for line in found:
        if args.json:
            document = msgspec.json.decode(line.payload)
            shown = {**line._asdict(), "payload": document}
            print(msgspec.json.encode(shown).decode())
            continue
        stands = "dead" if line.dead else "waits"
        tried = f"{plural(line.attempts, 'attempt')}  {line.error}" if line.attempts else ""
        at = format_date(int(line.created))
        print(f"{stands:5}  {line.hook}  {line.event}  {at}  {tried or line.error}".rstrip())
    if not found and not args.json:
        print("nothing waits for a hook", file=sys.stderr)
    return os.EX_OK


def _retry(args: argparse.Namespace, config: Config) -> int:
    count = change(config, "hooks retry", events=args.event)
    print(f"{plural(count, 'dead letter')} will be tried again", file=sys.stderr)
    return os.EX_OK if count or not args.event else 1
