"""``uploadd serve``: the daemon in the foreground, its log, and how it ends."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator
from functools import partial
from typing import Final, TypeVar

import trio

from uploadd import __version__, lines
from uploadd.commands.options import add_options, configuration, tell
from uploadd.config import Config, ConfigError, Loaded
from uploadd.daemon import serve
from uploadd.listening import CannotStart
from uploadd.store.contract import MediumFailed

E = TypeVar("E", bound=Exception)
LAST_LINES: Final = 5.0
"""Seconds for which the end waits for whoever reads the log."""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("serve", help="serve a folder")
    add_options(parser)
    parser.set_defaults(run=_serve)


def _serve(args: argparse.Namespace) -> int:
    try:
        loaded = configuration(args)
    except ConfigError as error:
        return tell(error)
    config = loaded.config
    if not config.storage.dir:
        print("which folder?\n→ uploadd serve DIR", file=sys.stderr)
        return os.EX_USAGE
    writer = _writer(config.log.level.upper(), config.log.format)
    code = 1  # Python's own, for what nobody catches
    try:
        code = _run(loaded, partial(configuration, args), writer)
    except* KeyboardInterrupt:
        code = 128 + signal.SIGINT  # as shells call it
    finally:
        _end(writer, code)
    return code


def _end(writer: lines.Writer, code: int) -> None:
    """Have the rest of the log written; with *code* at once where nobody takes it in time."""
    taken = False
    try:
        taken = writer.stop_within(LAST_LINES)
    finally:  # Ctrl-C, too: whoever presses it has waited long enough
        if not taken:
            # All else has ended, and Python would wait for the locks of the handler and of standard
            # error, which the writer holds.
            os._exit(code)


def _writer(level: str, form: str) -> lines.Writer:
    """What writes the log, in a thread: standard error may block, the loop must not."""
    told = lines.handler(form, sys.stderr, os.environ)
    # No line tells of threads, processes or places in the code, and to find those out for every
    # upload costs more than to write the line.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging._srcfile = None
    queued = lines.Queued()
    writer = lines.Writer(queued, told)
    logging.root.addHandler(queued)
    logging.root.setLevel(level)
    writer.start()
    return writer


def _run(loaded: Loaded[Config], read: Callable[[], Loaded[Config]], writer: lines.Writer) -> int:
    code, config = os.EX_OK, loaded.config
    try:
        trio.run(partial(serve, config, on_ready=partial(_ready, config, writer), read=read))
    except* CannotStart as group:
        for refusal in leaves(group):
            writer.say(refused(refusal, loaded), logging.ERROR)
            code = refusal.exit_code
    except* MediumFailed as group:
        for failure in leaves(group):
            logging.getLogger("uploadd").critical("stopped, to lose nothing: %s", failure)
        code = os.EX_IOERR
    return code


def refused(refusal: CannotStart, loaded: Loaded[Config]) -> str:
    """What happened and what to type; and where the setting to blame was given."""
    section, _, key = refusal.setting.partition(".")
    written = loaded.written.get((section, key))
    first, *more = refusal.hint.split("\n")
    if written is not None and written.place.line:
        first += f"; or change {key} in {written.place}"
    return "\n".join([refusal.message, f"→ {first}", *more])


def leaves(group: BaseExceptionGroup[E]) -> Iterator[E]:
    """The exceptions in *group*, however deep."""
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from leaves(error)
        else:
            yield error


def _ready(config: Config, writer: lines.Writer, url: str) -> None:
    if config.server.host not in ("127.0.0.1", "localhost", "::1"):
        logging.getLogger("uploadd").warning(
            "it answers to localhost and to --set server.names=%s",
            ",".join(config.server.names) or "<the names that people use>",
        )
    if config.durability.ack == "written":
        logging.getLogger("uploadd").warning(
            'durability.ack = "written": what is acknowledged does not survive a power cut'
        )
    told = f"uploadd {__version__} serves {config.storage.dir} at {url}"
    writer.say(told, logging.INFO)
