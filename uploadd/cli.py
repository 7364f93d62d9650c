"""The command line.  Exit codes live in ``commands/`` and ``client/exits.py``, nowhere else."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Sequence

from uploadd import __version__
from uploadd.client import get, put
from uploadd.commands import check, doctor, gc, hooks, links, serve, settings, tokens, uploads


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``uploadd``; the exit code."""
    args = _parser().parse_args(argv)
    code = 128 + signal.SIGINT  # as shells call it
    try:
        code = _run(args)
    except* KeyboardInterrupt:
        pass  # whoever has pressed Ctrl-C knows why it ends
    return code


def _run(args: argparse.Namespace) -> int:
    try:
        code: int = args.run(args)
        sys.stdout.flush()
    except BrokenPipeError:  # who reads, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what is still to come
        return os.EX_OK
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="uploadd", description="An upload daemon whose acknowledgement means durable."
    )
    parser.add_argument("--version", action="version", version=f"uploadd {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    serve.add_parser(commands)
    check.add_parser(commands)
    doctor.add_parser(commands)
    settings.add_parser(commands)
    tokens.add_parser(commands)
    links.add_parser(commands)
    uploads.add_parser(commands)
    hooks.add_parser(commands)
    gc.add_parsers(commands)
    put.add_parser(commands)
    get.add_parser(commands)
    version = commands.add_parser("version", help="say which version this is")
    version.set_defaults(run=_version)
    return parser


def _version(args: argparse.Namespace) -> int:
    print(f"uploadd {__version__}")
    return os.EX_OK


if __name__ == "__main__":
    sys.exit(main())
