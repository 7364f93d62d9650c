"""What the commands for a folder share: looking at it beside a daemon, and changing it by one.

Looking is read-only, and disturbs no daemon.  Changing is done by the daemon that has the folder;
without one the command takes its place for a moment, with the same code.
"""

from __future__ import annotations

import argparse
import os
import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing
from functools import partial
from typing import Any, Final, TypeVar
from urllib.parse import quote

import trio

from uploadd import control
from uploadd.ages import Ages
from uploadd.chores import chores
from uploadd.commands.options import WHICH, add_options, configuration, tell
from uploadd.config import Config, ConfigError
from uploadd.database import connect
from uploadd.errors import UploadError
from uploadd.expiring import Expiring
from uploadd.folder import LEDGER
from uploadd.listening import CannotStart
from uploadd.opened import opened, state_of
from uploadd.parts import terms
from uploadd.rows import SCHEMA_VERSION

T = TypeVar("T")
AS_IT: Final = "as the user of the daemon: sudo -u uploadd …"
FILES: int = 64
"""Descriptors for growing files while there is no daemon."""


class Unable(Exception):
    """Why nothing was done, and what to type; with the exit code."""

    def __init__(self, message: str, hint: str | None, code: int) -> None:
        super().__init__(f"{message}\n→ {hint}" if hint else message)
        self.code = code


def command(
    parser: argparse.ArgumentParser, work: Callable[[argparse.Namespace, Config], int]
) -> None:
    """Let *parser* do *work* on the folder that its arguments name."""

    def run(args: argparse.Namespace) -> int:
        try:
            config = configuration(args).config
            if not config.storage.dir:
                raise Unable("which folder?", WHICH, os.EX_USAGE)
            return work(args, config)
        except ConfigError as error:
            return tell(error)
        except Unable as error:
            print(error, file=sys.stderr)
            return error.code

    add_options(parser)
    parser.set_defaults(run=run)


def look(config: Config, job: Callable[[sqlite3.Connection], T]) -> T:
    """What *job* finds in the ledger, which it cannot change.  Raises Unable."""
    path = os.path.join(state_of(config), LEDGER)
    try:
        os.stat(path)
    except PermissionError as error:
        raise Unable(f"{path} cannot be read: {error.strerror}", AS_IT, os.EX_NOPERM) from error
    except OSError as error:
        hint = "name the DIR that is served"
        told = f"there is no ledger in {config.storage.dir}"
        raise Unable(told, hint, os.EX_NOINPUT) from error
    try:
        with closing(connect(f"file:{quote(path)}?mode=ro", uri=True)) as db:
            db.execute("PRAGMA busy_timeout = 5000")
            (version,) = db.execute("PRAGMA user_version").fetchone()
            if version != SCHEMA_VERSION:
                told = f"{path} was written by another version of uploadd"
                raise Unable(told, "start the daemon of this version once", os.EX_DATAERR)
            return job(db)
    except sqlite3.Error as error:
        raise Unable(f"{path} cannot be read: {error}", AS_IT, os.EX_NOPERM) from error


def change(config: Config, do: str, **details: Any) -> Any:
    """Have the chore *do* done, by the daemon or here.  Raises Unable."""
    try:
        return control.ask(state_of(config), do, **details)
    except control.Refused as refused:
        raise Unable(str(refused), refused.hint, 1) from refused
    except PermissionError as error:
        told = f"the daemon cannot be asked: {error.strerror}"
        raise Unable(told, AS_IT, os.EX_NOPERM) from error
    except OSError:  # there is none
        return _do_here(config, do, details)


def _do_here(config: Config, do: str, details: dict[str, Any]) -> Any:
    try:
        return trio.run(partial(_alone, config, do, details))
    except* CannotStart as group:
        raise _unable(group.exceptions[0]) from None
    except* UploadError as group:
        raise _unable(group.exceptions[0]) from None


def _unable(error: BaseException) -> Unable:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, CannotStart):
        return Unable(error.message, error.hint, error.exit_code)
    assert isinstance(error, UploadError)
    return Unable(error.message, error.hint, 1)


async def _alone(config: Config, do: str, details: dict[str, Any]) -> Any:
    async with opened(config, FILES) as uploads, trio.open_nursery() as nursery:
        await nursery.start(uploads.commit.run)
        verbs = chores(uploads, Expiring(uploads, Ages(uploads.ledger)), lambda: terms(config))
        done = await verbs[do](details)
        await uploads.commit.drain()
        nursery.cancel_scope.cancel(reason="it is done")
        return done
