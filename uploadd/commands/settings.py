"""``uploadd config default`` and ``uploadd config show``."""

from __future__ import annotations

import argparse
import os
import sys

from uploadd.commands.options import add_options, configuration, tell
from uploadd.config import ConfigError, default_file, effective
from uploadd.settings import SECTIONS


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("config", help="print settings: the defaults, or what counts")
    verbs = parser.add_subparsers(required=True, metavar="default|show")
    default = verbs.add_parser("default", help="every setting with its default and why, as TOML")
    default.set_defaults(run=_default)
    show = verbs.add_parser("show", help="what counts of every setting, and who said so, as TOML")
    add_options(show)
    show.set_defaults(run=_show)


def _default(args: argparse.Namespace) -> int:
    sys.stdout.write(default_file(SECTIONS))
    return os.EX_OK


def _show(args: argparse.Namespace) -> int:
    try:
        loaded = configuration(args)
    except ConfigError as error:
        return tell(error)
    sys.stdout.write(effective(loaded))
    return os.EX_OK
