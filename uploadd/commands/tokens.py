"""``uploadd token new|ls|revoke``: who may use the daemon.  It need not run, nor be told."""

from __future__ import annotations

import argparse
import math
import os
import sys
import time

import msgspec

from uploadd.auth import files
from uploadd.auth.files import Unusable
from uploadd.commands.options import WHICH, add_options, again, configuration, tell
from uploadd.config import ConfigError
from uploadd.permissions import places_of
from uploadd.protocol.dates import format_date
from uploadd.protocol.tokens import USUAL, Claims, Scope, check_subject, read_scopes
from uploadd.settings.kinds import read_duration

_SCOPES = ", ".join(Scope)


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("token", help="make, list and revoke tokens")
    verbs = parser.add_subparsers(required=True, metavar="new|ls|revoke")
    new = verbs.add_parser(
        "new",
        help="make a token and print it, once",
        description="Make a token and print it on standard output; only a hash of it is kept. The"
        " first one makes the daemon ask for tokens, from its next start on.",
    )
    new.add_argument("subject", metavar="NAME", help="whom it is for, and whose uploads they are")
    new.add_argument(
        "--scopes", metavar="LIST", help=f"what it permits, with commas (all but admin): {_SCOPES}"
    )
    new.add_argument("--expires", metavar="TIME", help='for how long: "30 d" (for ever)')
    new.set_defaults(run=_new)
    ls = verbs.add_parser("ls", help="list the tokens")
    ls.add_argument("--json", action="store_true", help="a line of JSON each")
    ls.set_defaults(run=_ls)
    revoke = verbs.add_parser("revoke", help="end a token; at once, also where it is in use")
    revoke.add_argument("id", metavar="ID", help="as token ls says it")
    revoke.set_defaults(run=_revoke)
    for verb in (new, ls, revoke):
        add_options(verb)


def folder(args: argparse.Namespace) -> str:
    """Where the tokens lie.  Raises ConfigError, and ValueError where nothing says that."""
    config = configuration(args).config
    if not (config.storage.dir or config.access.tokens):
        raise ValueError(f"which folder?\n→ {WHICH}")
    return places_of(config).tokens


def _new(args: argparse.Namespace) -> int:
    try:
        place = folder(args)
        first = not os.path.isdir(place)
        expires = time.time() + read_duration(args.expires) if args.expires else math.inf
        scopes = read_scopes(args.scopes.replace(" ", "").split(",")) if args.scopes else USUAL
        text = files.new_token(place, Claims(check_subject(args.subject), scopes, expires))
    except ConfigError as error:
        return tell(error)
    except ValueError as error:
        print(error, file=sys.stderr)
        return os.EX_USAGE
    except OSError as error:
        return _cannot(place, error)
    print(text)
    print(
        f'this is the token for "{args.subject}": it is shown only now.\n'
        "→ put it into a file, then: uploadd put --token-file FILE …",
        file=sys.stderr,
    )
    if first:
        print("→ restart a daemon that asked for no tokens until now", file=sys.stderr)
    return os.EX_OK


def _ls(args: argparse.Namespace) -> int:
    try:
        found = files.stored(folder(args))
    except ConfigError as error:
        return tell(error)
    except (ValueError, Unusable) as error:
        print(error, file=sys.stderr)
        return os.EX_USAGE if isinstance(error, ValueError) else os.EX_CONFIG
    for id, one in found.items():
        claims = one.claims()
        if args.json:
            shown = {"id": id, "subject": one.subject, "scopes": one.scopes, "expires": one.expires}
            print(msgspec.json.encode(shown).decode())
            continue
        until = "for ever" if one.expires is None else f"until {format_date(int(one.expires))}"
        until = "expired" if claims.expired(time.time()) else until
        print(f"{id}  {one.subject}  {','.join(one.scopes)}  {until}")
    if not found and not args.json:
        print(f"there are no tokens\n→ {again(args, 'token', 'new', 'NAME')}", file=sys.stderr)
    return os.EX_OK


def _revoke(args: argparse.Namespace) -> int:
    try:
        place = folder(args)
        whose = files.stored(place, tell=lambda error: None).get(args.id)
        known = files.revoke(place, args.id)
    except ConfigError as error:
        return tell(error)
    except (ValueError, Unusable) as error:
        print(error, file=sys.stderr)
        return os.EX_USAGE if isinstance(error, ValueError) else os.EX_CONFIG
    except OSError as error:
        return _cannot(place, error)
    if not known:
        print(
            f"there is no token {args.id[:40]!r}\n"
            f"→ its ID, which is the first word of its line in: {again(args, 'token', 'ls')}",
            file=sys.stderr,
        )
        return 1
    of = f', the token of "{whose.subject}"' if whose is not None else ""
    print(f"{args.id} is revoked{of}", file=sys.stderr)
    return os.EX_OK


def _cannot(place: str, error: OSError) -> int:
    print(
        f"cannot write to {place}: {error.strerror}\n"
        "→ as the user of the daemon: sudo -u uploadd …",
        file=sys.stderr,
    )
    return os.EX_NOPERM
