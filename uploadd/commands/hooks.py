"""``uploadd hooks ls|retry|test``: what hooks are still to be told, dead letters, and a sample."""

from __future__ import annotations

import argparse
import os
import secrets
import sys
from collections.abc import Mapping
from typing import Final

import msgspec
import trio

from uploadd.commands.upkeep import Unable, change, command, look
from uploadd.config import Config
from uploadd.errors import HookFailed
from uploadd.hooks import Receiver
from uploadd.outbox import lines
from uploadd.parts import receivers
from uploadd.protocol import hooks
from uploadd.protocol.dates import format_date
from uploadd.protocol.extents import NOTHING
from uploadd.protocol.saying import plural, printable
from uploadd.protocol.upload import Upload


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("hooks", help="look at what hooks were not told, and try again")
    verbs = parser.add_subparsers(required=True, metavar="ls|retry|test")
    ls = verbs.add_parser("ls", help="list what waits, and what was tried too often")
    ls.add_argument("--dead", action="store_true", help="only what was tried too often")
    ls.add_argument("--json", action="store_true", help="a line of JSON each, with the document")
    command(ls, _ls)
    retry = verbs.add_parser("retry", help="try dead letters again; the daemon does, if it runs")
    retry.add_argument(
        "--event", metavar="EVENT", action="append", help="only this one; may come again"
    )
    command(retry, _retry)
    test = verbs.add_parser(
        "test",
        help="tell hooks of an upload that there is not, and show what they answer",
        description="Each hook is told once of every event that it is for, of an upload whose id is"
        f" {SAMPLE}: from here, as the user who types this, and nothing is stored or changed.",
        epilog="exit codes: 0 each has answered so that it could be understood; 1 one has not",
    )
    test.add_argument(
        "--hook", metavar="NAME", action="append", help="only this one; may come again"
    )
    command(test, _test)


SAMPLE: Final = "sample-of-uploadd-hooks-test"


def _test(args: argparse.Namespace, config: Config) -> int:
    known = receivers(config)
    if unknown := set(args.hook or known) - known.keys():
        raise Unable(f"there is no hook {min(unknown)}", _named(known), os.EX_USAGE)
    if not known:
        raise Unable("no hook is configured", "[hook.NAME] with run or url", os.EX_USAGE)
    told = [
        trio.run(_tell, known[name], kind)
        for name in sorted(args.hook or known)
        for kind in hooks.KINDS
        if kind in known[name].events
    ]
    return os.EX_OK if all(told) else 1


async def _tell(receiver: Receiver, kind: str) -> bool:
    """Tell *receiver* of a sample, and print what came of it; whether it was understood."""
    upload = Upload(SAMPLE, "sample.txt", 11, "text/plain")
    if kind != hooks.PRE_CREATE:
        upload.held = NOTHING.add(0, 11)
    body, began = hooks.told(kind, upload, None, None), trio.current_time()
    what = f"{receiver.name}  {kind}"
    try:
        said = await receiver.tell(secrets.token_urlsafe(18), body, hooks.environment(upload))
        answer = hooks.answered(kind, said)
    except HookFailed as error:
        print(f"✗ {what}  {printable(error.message)}")
        return False
    took = f"{trio.current_time() - began:.2f} s"
    came = f"refuses: {answer.refused.message}" if answer.refused is not None else "agrees"
    print(f"✓ {what}  {came}  ({took}, {plural(len(said), 'byte')})")
    if said.strip():
        print(f"  {printable(said.decode('utf-8', 'replace').strip())}")
    return True


def _named(known: Mapping[str, Receiver]) -> str:
    return f"there are: {', '.join(sorted(known))}" if known else "none is configured"


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
