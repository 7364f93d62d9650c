"""The command line.  Exit codes live in ``commands/`` and ``client/exits.py``, nowhere else."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Final

from uploadd import __version__

COMMANDS: Final = {
    "serve": "commands.serve",
    "check": "commands.check",
    "doctor": "commands.doctor",
    "config": "commands.settings",
    "token": "commands.tokens",
    "link": "commands.links",
    "uploads": "commands.uploads",
    "hooks": "commands.hooks",
    "gc": "commands.gc",
    "verify": "commands.gc",
    "put": "client.put",
    "get": "client.get",
}
"""Where each is.  Only what is asked for is imported: every start pays for it."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``uploadd``; the exit code."""
    words = sys.argv[1:] if argv is None else argv
    code = 128 + signal.SIGINT  # as shells call it
    try:
        code = _run(_parser(words).parse_args(words))
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


def _parser(words: Sequence[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="uploadd", description="An upload daemon whose acknowledgement means durable."
    )
    parser.add_argument("--version", action="version", version=f"uploadd {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    wanted = [COMMANDS[word] for word in words[:1] if word in COMMANDS]
    for module in wanted or dict.fromkeys(COMMANDS.values()):
        import_module(f"uploadd.{module}").add_parser(commands)
    version = commands.add_parser("version", help="say which version this is")
    version.set_defaults(run=_version)
    return parser


def _version(args: argparse.Namespace) -> int:
    print(f"uploadd {__version__}")
    return os.EX_OK


if __name__ == "__main__":
    sys.exit(main())
