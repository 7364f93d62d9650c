"""What the two commands have in common: who they are, whom they talk to, how they are stopped."""

from __future__ import annotations

import argparse
import os
import shlex
import signal
import sys
from collections.abc import Awaitable, Callable
from typing import Any, Final, NoReturn

import trio

from uploadd.allocator import keep_buffers
from uploadd.client import exits
from uploadd.client.address import check_token
from uploadd.client.plain import Plain
from uploadd.client.screen import Screen
from uploadd.protocol.saying import printable

DEFAULT_URL: Final = "http://127.0.0.1:8080"


class UsageError(Exception):
    """The command line asks for what cannot be; *hint* is what to type instead."""

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


class Parser(argparse.ArgumentParser):
    """One that says what to type, and takes options between the words of ``items``."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> tuple[Any, list[str]]:
        """As in argparse, with what it leaves over added to ``items``."""
        words, verbatim = list(args), []
        if "--" in words:
            at = words.index("--")
            words, verbatim = words[:at], words[at + 1 :]
        parsed, left = super().parse_known_args(words, namespace)
        more = [word for word in left if word == "-" or not word.startswith("-")]
        unknown = [word for word in left if word not in more]
        if unknown:
            self.error(f"there is no option {unknown[0]}")
        if not hasattr(parsed, "items"):
            return parsed, more + verbatim
        parsed.items = [*parsed.items, *more, *verbatim]
        return parsed, []

    def error(self, message: str) -> NoReturn:
        """Say it as every other error is said."""
        self.exit(exits.USAGE, f"{self.prog}: {message}\n→ {self.prog} --help\n")


def add_common(parser: argparse.ArgumentParser) -> None:
    """The options that both have; *parser* becomes a Parser."""
    parser.__class__ = Parser  # the class of subparsers is not for us to choose
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.allow_abbrev = False
    parser.add_argument(
        "--token-file", metavar="PATH", help="file with the token (else $UPLOADD_TOKEN)"
    )
    parser.add_argument(
        "--progress",
        choices=("auto", "bar", "plain", "none"),
        default="auto",
        help="bars (auto: if standard error is a terminal), a line every 5 s, or nothing",
    )
    parser.add_argument(
        "--no-progress", dest="progress", action="store_const", const="none", help="as none"
    )
    parser.add_argument("--quiet", "-q", action="store_true", help="say nothing but errors")


def screen(args: argparse.Namespace) -> Screen:
    """Where the command says something."""
    if args.progress == "plain":
        return Plain(quiet=args.quiet)
    force = args.progress == "bar"
    return Screen(bars=args.progress != "none", quiet=args.quiet, force=force)


def misused(name: str, error: Exception, usage: str) -> int:
    """Say what is wrong with the command line; the exit code."""
    hint = getattr(error, "hint", None) or usage
    print(printable(f"uploadd {name}: {error}\n→ {hint}"), file=sys.stderr)
    return exits.USAGE


def token(args: argparse.Namespace) -> str | None:
    """The token to show, never from the command line, which everybody on the host can read.

    Raises UsageError.
    """
    path, said = args.token_file, os.environ.get("UPLOADD_TOKEN", "")
    where = "$UPLOADD_TOKEN" if path is None else path
    if path is not None:
        try:
            with open(path, encoding="utf-8") as file:
                said = file.read().strip()
        except (OSError, UnicodeDecodeError) as error:
            why = (getattr(error, "strerror", None) or "it is not text").lower()
            hint = f"put the token into it, readable for you: ls -l {shlex.quote(path)}"
            raise UsageError(f"cannot read the token in {path}: {why}", hint) from error
    if not said and path is None:
        return None
    try:
        return check_token(said)
    except ValueError as error:
        told = f"what is in {where} is no token"
        raise UsageError(told, f"{error}: write it alone into {where}") from error


def run(work: Callable[[], Awaitable[int]], interrupted: Callable[[int], None]) -> int:
    """The exit code of *work*; after Ctrl-C or SIGTERM it is cancelled, and *interrupted* called.

    A second Ctrl-C ends the process at once.
    """
    keep_buffers()
    code, stopped = trio.run(_run, work)
    if stopped:
        interrupted(code)
    return code


async def _run(work: Callable[[], Awaitable[int]]) -> tuple[int, bool]:
    """The exit code, and whether it is that of a signal."""
    token = trio.lowlevel.current_trio_token()
    scope = trio.CancelScope()
    code = exits.FAILED

    def stop(number: int, frame: object) -> None:
        # here and not in a task: the loop may hang in a terminal that takes nothing
        nonlocal code
        signal.signal(signal.SIGINT, _at_once)
        code = exits.SIGNALLED + number
        token.run_sync_soon(scope.cancel)

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    with scope:
        code = await work()
    if not scope.cancelled_caught:
        for number, handler in before.items():
            signal.signal(number, handler)
    return code, scope.cancelled_caught


def _at_once(number: int, frame: object) -> None:
    """End as the signal ends those who do nothing about it; the bars had hidden the cursor."""
    if sys.stderr.isatty():
        os.write(sys.stderr.fileno(), b"\x1b[?25h\n")
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
