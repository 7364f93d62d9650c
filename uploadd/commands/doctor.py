"""``uploadd doctor``: looks for what will not work, here or on the road to a daemon."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable
from pathlib import Path

from uploadd.commands.options import add_options, configuration, tell
from uploadd.config import ConfigError
from uploadd.doctor import here, through
from uploadd.doctor.finding import Finding, Mark
from uploadd.doctor.road import Road


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "doctor",
        help="look for what will not work: here, or on the road to a URL",
        epilog="exit codes: 0 nothing is wrong; 1 something is; 2 usage; 78 bad configuration",
    )
    add_options(parser, place="DIR|URL")
    parser.add_argument("--token-file", metavar="FILE", help="a token for the daemon at URL")
    parser.set_defaults(run=_doctor)


def _doctor(args: argparse.Namespace) -> int:
    if args.dir is not None and "://" in args.dir:
        return _road(args)
    try:
        loaded = configuration(args)
    except ConfigError as error:
        return tell(error)
    return _print(here.look(loaded.config))


def _road(args: argparse.Namespace) -> int:
    try:
        token = Path(args.token_file).read_text().strip() if args.token_file else None
        road = Road(args.dir, token)
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return os.EX_USAGE
    return _print(through.look(road))


def _print(findings: Iterable[Finding]) -> int:
    """Print each as it is found; the exit code."""
    code = os.EX_OK
    for finding in findings:
        print(finding, flush=True)
        code = code or int(finding.mark is Mark.WRONG)
    return code
