"""The command line.  Exit codes live here and in ``client/exits.py``, nowhere else."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from logging.handlers import QueueHandler, QueueListener
from queue import SimpleQueue
from typing import TypeVar

import trio

from uploadd import __version__
from uploadd.client import get, put
from uploadd.commands import settings
from uploadd.commands.options import add_options, configuration, tell
from uploadd.config import Config, ConfigError
from uploadd.daemon import serve
from uploadd.listening import CannotStart
from uploadd.store.contract import MediumFailed

E = TypeVar("E", bound=Exception)


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``uploadd``; the exit code."""
    args = _parser().parse_args(argv)
    code: int = args.run(args)
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="uploadd", description="An upload daemon whose acknowledgement means durable."
    )
    parser.add_argument("--version", action="version", version=f"uploadd {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_serve(commands)
    settings.add_parser(commands)
    put.add_parser(commands)
    get.add_parser(commands)
    version = commands.add_parser("version", help="say which version this is")
    version.set_defaults(run=_version)
    return parser


def _add_serve(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("serve", help="serve a folder")
    add_options(parser)
    parser.set_defaults(run=_serve)


def _version(args: argparse.Namespace) -> int:
    print(f"uploadd {__version__}")
    return os.EX_OK


def _serve(args: argparse.Namespace) -> int:
    try:
        config = configuration(args).config
    except ConfigError as error:
        return tell(error)
    if not config.storage.dir:
        print("which folder?\n→ uploadd serve DIR", file=sys.stderr)
        return os.EX_USAGE
    with _logging(config.log.level.upper()):
        return _run(config)


@contextmanager
def _logging(level: str) -> Iterator[None]:
    """Write the log from a thread of its own: standard error may block, the loop must not."""
    told = logging.StreamHandler(sys.stderr)
    told.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
    lines: SimpleQueue[logging.LogRecord] = SimpleQueue()
    listener = QueueListener(lines, told)
    logging.root.addHandler(QueueHandler(lines))
    logging.root.setLevel(level)
    listener.start()
    try:
        yield
    finally:
        listener.stop()  # everything is written


def _run(config: Config) -> int:
    code = os.EX_OK
    try:
        trio.run(partial(serve, config, on_ready=partial(_ready, config)))
    except* CannotStart as group:
        for refusal in leaves(group):
            print(f"{refusal.message}\n→ {refusal.hint}", file=sys.stderr)
            code = refusal.exit_code
    except* MediumFailed as group:
        for failure in leaves(group):
            logging.getLogger("uploadd").critical("stopped, to lose nothing: %s", failure)
        code = os.EX_IOERR
    return code


def leaves(group: BaseExceptionGroup[E]) -> Iterator[E]:
    """The exceptions in *group*, however deep."""
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from leaves(error)
        else:
            yield error


def _ready(config: Config, url: str) -> None:
    if config.server.host not in ("127.0.0.1", "localhost", "::1"):
        logging.getLogger("uploadd").warning(
            "anybody who reaches this port may upload: there is no authentication yet; "
            "it answers to localhost and to --set server.names=%s",
            ",".join(config.server.names) or "<the names that people use>",
        )
    if config.durability.ack == "written":
        logging.getLogger("uploadd").warning(
            'durability.ack = "written": what is acknowledged does not survive a power cut'
        )
    # In one piece: the log is written by a thread of its own, to the same place.
    sys.stderr.write(f"uploadd {__version__} serves {config.storage.dir} at {url}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
