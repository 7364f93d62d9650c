"""``uploadd uploads ls|show|rm``: what there is, beside the daemon or without it."""

from __future__ import annotations

import argparse
import os
import sqlite3
import sys
from typing import Any

import msgspec

from uploadd.commands.options import again
from uploadd.commands.upkeep import Unable, change, command, look
from uploadd.config import Config
from uploadd.protocol.dates import format_date
from uploadd.protocol.saying import size
from uploadd.protocol.upload import GONE, State, Upload
from uploadd.rows import LOOK, upload_of

_THERE = [state.value for state in State if state not in GONE]


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("uploads", help="list, show and remove uploads")
    verbs = parser.add_subparsers(required=True, metavar="ls|show|rm")
    ls = verbs.add_parser("ls", help="list uploads, oldest first; those that are gone by --state")
    ls.add_argument("--state", choices=[state.value for state in State], help="only these")
    ls.add_argument("--json", action="store_true", help="a line of JSON each")
    command(ls, _ls)
    show = verbs.add_parser("show", help="all that is known of one upload, as JSON")
    rm = verbs.add_parser("rm", help="remove an upload, and its file; the daemon does, if it runs")
    for verb in (show, rm):
        verb.add_argument("upload", metavar="ID", help="what follows /f/ in its URL")
    command(show, _show)
    command(rm, _rm)


def _ls(args: argparse.Namespace, config: Config) -> int:
    states = [args.state] if args.state else _THERE

    def job(db: sqlite3.Connection) -> int:
        where = f"state IN ({', '.join('?' * len(states))}) ORDER BY created, id"
        count = 0
        for row in db.execute(LOOK + where, states):
            one, count = upload_of(row)[0], count + 1
            print(msgspec.json.encode(_shown(one)).decode() if args.json else _line(one))
        return count

    if not look(config, job) and not args.json:
        print("there are no uploads", file=sys.stderr)
    return os.EX_OK


def _line(one: Upload) -> str:
    long = "?" if one.length is None else size(one.length)
    of = size(one.held.total) if one.state is State.RECEIVING else ""
    amount = f"{of} of {long}" if of else long
    name = "".join(c if c.isprintable() else "?" for c in one.name or "")
    return f"{one.id}  {one.state.value:10}  {format_date(int(one.modified))}  {amount}  {name}"


def _shown(one: Upload) -> dict[str, Any]:
    shown = {
        "id": one.id,
        "state": one.state.value,
        "name": _sound(one.name),
        "length": one.length,
        "offset": one.offset,
        "held": one.held.total,
        "media_type": _sound(one.media_type),
        "metadata": {_sound(key): _sound(value) for key, value in one.metadata.items()},
        "owner": one.owner,
        "created": one.created,
        "modified": one.modified,
        "path": one.published.path if one.published else None,
        "sha256": one.digest.hex() if one.digest else None,
    }
    return {name: value for name, value in shown.items() if value is not None}


def _sound(text: str | None) -> str | None:
    return None if text is None else text.encode("utf-8", "replace").decode()


def _show(args: argparse.Namespace, config: Config) -> int:
    found = look(config, lambda db: db.execute(LOOK + "id = ?", (args.upload,)).fetchone())
    if found is None:
        raise Unable(f"there is no upload {args.upload[:64]!r}", again(args, "uploads", "ls"), 1)
    shown = msgspec.json.encode(_shown(upload_of(found)[0]))
    print(msgspec.json.format(shown, indent=2).decode())
    return os.EX_OK


def _rm(args: argparse.Namespace, config: Config) -> int:
    state = change(config, "uploads rm", uploads=[args.upload])
    print(f"{args.upload} is {state}", file=sys.stderr)
    return os.EX_OK
