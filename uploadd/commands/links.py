"""``uploadd link get|send``: links for people without a token."""

from __future__ import annotations

import argparse
import os
import secrets
import sys
import time
from collections.abc import Callable
from typing import Final

from uploadd.auth import files
from uploadd.auth.files import Unusable
from uploadd.commands.options import WHICH, add_options, configuration, tell
from uploadd.config import Config, ConfigError
from uploadd.permissions import places_of
from uploadd.protocol import tickets
from uploadd.protocol.requests import UPLOAD_ID
from uploadd.protocol.saying import compared, duration
from uploadd.protocol.tickets import Ticket
from uploadd.protocol.tokens import check_subject
from uploadd.settings.kinds import read_duration, read_size

USUAL: Final = 7 * 86400.0
"""Seconds for which a link is good where nobody says."""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("link", help="make a link to have a file, or to send one")
    verbs = parser.add_subparsers(required=True, metavar="get|send")
    get = verbs.add_parser("get", help="a link by which anybody can have one upload")
    get.add_argument("upload", metavar="ID", help="of the upload: what follows /f/ in its URL")
    get.set_defaults(run=_get)
    send = verbs.add_parser("send", help="a link by which somebody can send one file, in a browser")
    send.add_argument("--for", dest="owner", metavar="NAME", default="", help="whose it will be")
    send.add_argument("--max-length", metavar="SIZE", help='how large it may be: "2 GiB"')
    send.set_defaults(run=_send)
    for verb in (get, send):
        verb.add_argument(
            "--expires", metavar="TIME", help="for how long (7 d; at most access.link_life)"
        )
        verb.add_argument("--url", metavar="URL", help="of the server, as others reach it")
        add_options(verb)


def _get(args: argparse.Namespace) -> int:
    return _make(args, lambda until: _reading(args.upload, until))


def _reading(id: str, until: int) -> Ticket:
    if not UPLOAD_ID.fullmatch(id):
        raise ValueError(f"{id[:40]!r} is no id of an upload: what follows /f/ in its URL is")
    return Ticket("read", id, until)


def _send(args: argparse.Namespace) -> int:
    def sending(until: int) -> Ticket:
        owner = check_subject(args.owner) if args.owner else ""
        most = read_size(args.max_length) if args.max_length else None
        return Ticket("send", secrets.token_urlsafe(12), until, owner=owner, max_length=most)

    return _make(args, sending)


def _make(args: argparse.Namespace, ticket_until: Callable[[int], Ticket]) -> int:
    try:
        config = configuration(args).config
        ticket = ticket_until(int(time.time() + _life(args.expires, config.access.link_life)))
        if not (config.storage.dir or config.access.link_keys):
            raise ValueError(f"which folder?\n→ {WHICH}")
        place = places_of(config).keys
        key = next(iter(files.keys(place)), None) or files.new_key(place)
    except ConfigError as error:
        return tell(error)
    except ValueError as error:
        print(error, file=sys.stderr)
        return os.EX_USAGE
    except (Unusable, OSError) as error:
        print(f"{error}\n→ as the user of the daemon: sudo -u uploadd …", file=sys.stderr)
        return os.EX_NOPERM
    _warn(ticket, config.limits.max_length)
    base = (args.url or _base(config)).rstrip("/")
    print(base + tickets.link(ticket, tickets.sign(key, ticket)))
    return os.EX_OK


def _warn(ticket: Ticket, most: int | None) -> None:
    """The lesser of both limits holds, and who gets the link would be the first to find out."""
    if ticket.max_length is not None and most is not None and ticket.max_length > most:
        link, server = compared(ticket.max_length, most)
        print(
            f"the link is for {link}, and the server takes {server} at most\n"
            "→ less with --max-length, or more in limits.max_length",
            file=sys.stderr,
        )


def _life(said: str | None, most: float) -> float:
    """For how many seconds a link is good.  Raises ValueError."""
    if said is None:
        return min(USUAL, most)
    if (life := read_duration(said)) > most:
        raise ValueError(
            f"a link lives at most {duration(most)}, not {said}\n"
            f'→ --set access.link_life="{said}", or the line in the configuration'
        )
    return life


def _base(config: Config) -> str:
    """Where the daemon is to be reached, as far as the settings tell."""
    if config.server.names:
        return f"https://{config.server.names[0]}"
    host = config.server.host
    return f"http://{f'[{host}]' if ':' in host else host}:{config.server.port}"
