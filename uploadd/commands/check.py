"""``uploadd check``: whether a daemon would start with this configuration, without starting it."""

from __future__ import annotations

import argparse
import os
import sys

from uploadd import permissions
from uploadd.commands.options import add_options, configuration, tell
from uploadd.commands.serve import refused
from uploadd.config import Config, ConfigError, Loaded, Problem
from uploadd.folder import probe
from uploadd.listening import CannotStart
from uploadd.parts import first_shown, lame


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "check",
        help="say whether the configuration is good: values, secrets, certificates, the folder",
        epilog="exit codes: 0 good; 77 the folder cannot be written to; 78 bad configuration",
    )
    add_options(parser)
    parser.add_argument("-q", "--quiet", action="store_true", help="say nothing when it is good")
    parser.set_defaults(run=_check)


def _check(args: argparse.Namespace) -> int:
    try:
        loaded = configuration(args)
        _check_hooks(loaded)
    except ConfigError as error:
        return tell(error)
    try:
        if loaded.config.storage.dir:
            probe(os.path.abspath(loaded.config.storage.dir))
        permissions.check(loaded.config)
        first_shown(loaded.config)
    except CannotStart as refusal:
        print(refused(refusal, loaded), file=sys.stderr)
        return refusal.exit_code
    if not args.quiet:
        folder = loaded.config.storage.dir or "no folder yet: uploadd serve DIR"
        print(f"the configuration is good ({folder})")
    return os.EX_OK


def _check_hooks(loaded: Loaded[Config]) -> None:
    """Raises ConfigError for programs that cannot be run: all that they are asked is refused."""
    problems = [
        Problem(
            loaded.written["hook", name, "run"].place,
            f"hook.{name}.run: {why}",
            "a program that the user of the daemon may execute",
        )
        for name, why in lame(loaded.config)
    ]
    if problems:
        raise ConfigError(problems)
