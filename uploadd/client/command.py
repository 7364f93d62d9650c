"""What the two commands have in common: who they are, whom they talk to, how they are stopped."""

from __future__ import annotations

import argparse
import os
import signal
from collections.abc import Awaitable, Callable
from typing import Final

import trio

from uploadd.allocator import keep_buffers
from uploadd.client import exits
from uploadd.client.address import check_token

DEFAULT_URL: Final = "http://127.0.0.1:8080"


class UsageError(Exception):
    """The command line asks for what cannot be."""


def add_common(parser: argparse.ArgumentParser) -> None:
    """The options that both have."""
    parser.add_argument(
        "--token-file", metavar="PATH", help="file with the token (else $UPLOADD_TOKEN)"
    )
    parser.add_argument("--no-progress", action="store_true", help="show no bars")
    parser.add_argument("--quiet", "-q", action="store_true", help="say nothing but errors")


def token(args: argparse.Namespace) -> str | None:
    """The token to show, never from the command line, which everybody on the host can read.

    Raises UsageError, ValueError.
    """
    said = os.environ.get("UPLOADD_TOKEN", "")
    if args.token_file is not None:
        try:
            with open(args.token_file, encoding="utf-8") as file:
                said = file.read().strip()
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"cannot read the token in {args.token_file}: {error}") from error
    return check_token(said) if said or args.token_file is not None else None


def run(work: Callable[[], Awaitable[int]], interrupted: Callable[[], None]) -> int:
    """The exit code of *work*; after Ctrl-C or SIGTERM it is cancelled, and *interrupted* called.

    A second Ctrl-C ends the process at once.
    """
    keep_buffers()
    return trio.run(_run, work, interrupted)


async def _run(work: Callable[[], Awaitable[int]], interrupted: Callable[[], None]) -> int:
    codes: list[int] = []
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with trio.open_nursery() as nursery:

            async def watch() -> None:
                number = await anext(signals)
                signal.signal(signal.SIGINT, signal.SIG_DFL)
                codes.append(exits.SIGNALLED + number)
                nursery.cancel_scope.cancel(reason="interrupted")

            nursery.start_soon(watch)
            code = await work()
            if not codes:
                codes.append(code)
                nursery.cancel_scope.cancel(reason="done")
    if codes[0] >= exits.SIGNALLED:
        interrupted()
    return codes[0]
