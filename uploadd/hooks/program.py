"""A hook that is a program: the document on its standard input, its answer on its output."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

import trio

from uploadd.errors import HookFailed
from uploadd.protocol.hooks import MAX_ANSWER

PASSED: Final = ("PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "TZ", "TMPDIR")
"""Of our environment; the rest may hold secrets, and sockets of systemd's."""
COMPLAINT: Final = 500
"""Bytes of its standard error that are told when it fails."""


def fault(program: str) -> str:
    """What keeps the file *program* from being run, as far as can be seen; empty for nothing."""
    try:
        mode = os.stat(program).st_mode
    except OSError as error:
        return error.strerror or str(error)
    if not stat.S_ISREG(mode):
        return "It is no file"
    return "" if os.access(program, os.X_OK) else "It is not executable"


async def run(program: Sequence[str], body: bytes, environment: dict[str, str]) -> bytes:
    """Run *program*, never by a shell, with *body* on its input; what it has written.

    Whatever it has started goes with it: when this returns or is cancelled, its process group is
    gone.  Raises HookFailed when it cannot be run, ends otherwise than with 0, or says too much.
    """
    env = {name: os.environ[name] for name in PASSED if name in os.environ} | environment
    try:
        process = await trio.lowlevel.open_process(
            list(program),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=env,
            cwd="/",
            start_new_session=True,
        )
    except OSError as error:
        raise HookFailed(f"{program[0]} cannot be run: {error.strerror}") from error
    try:
        said, complaint = await _converse(process, body)
    finally:
        with trio.CancelScope(shield=True):
            if process.returncode is None:  # else its number may be another's by now
                _kill_group(process.pid)
            await process.wait()
            for pipe in (process.stdin, process.stdout, process.stderr):
                if pipe is not None:
                    await trio.aclose_forcefully(pipe)
    if len(said) > MAX_ANSWER:
        raise HookFailed(f"{program[0]} has said more than {MAX_ANSWER} bytes")
    if process.returncode:
        told = complaint[-COMPLAINT:].decode("utf-8", "backslashreplace").strip()
        raise HookFailed(f"{program[0]} ended with {process.returncode}: {told or 'no word'}")
    return bytes(said)


async def _converse(process: trio.Process, body: bytes) -> tuple[bytearray, bytearray]:
    """What it says and what it complains of, to its end; both are read until then."""
    said, complaint = bytearray(), bytearray()
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_feed, process.stdin, body)
        nursery.start_soon(_read, process.stdout, said, MAX_ANSWER + 1)
        nursery.start_soon(_read, process.stderr, complaint, None)
        await process.wait()
        _kill_group(process.pid)  # what it left behind may hold its output open
    return said, complaint


async def _feed(pipe: trio.abc.SendStream, body: bytes) -> None:
    """It need not read all of it, or any."""
    with suppress(trio.BrokenResourceError):
        await pipe.send_all(body)
    await pipe.aclose()


async def _read(pipe: trio.abc.ReceiveStream, into: bytearray, most: int | None) -> None:
    """Read to its end; keep the first *most* bytes, or (None) the last few."""
    while data := await pipe.receive_some(16 * 1024):
        into += data if most is None else data[: most - len(into)]
        if most is None:
            del into[:-COMPLAINT]


def _kill_group(pid: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
