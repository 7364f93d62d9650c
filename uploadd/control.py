"""What the commands of the same machine ask of a running daemon: one line of JSON, one answer.

The socket lies beside the ledger, where only the daemon's own user gets to: being there is the
right to ask.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any, Final

import msgspec
import trio

from uploadd.errors import BadRequest, ServerBug, UploadError
from uploadd.listening import Listening
from uploadd.store.contract import MediumFailed

log = logging.getLogger("uploadd.control")
NAME: Final = "control"
MOST: Final = 16
"""Commands at a time."""
MAX_LINE: Final = 1 << 20
PATIENCE: Final = 30.0
"""Seconds for a question to come."""
Verb = Callable[[Mapping[str, Any]], Awaitable[Any]]


async def serve(
    folder: str,
    verbs: Mapping[str, Verb],
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Answer in *folder*, of which the caller has the lock, until cancelled."""
    with _bound(folder) as bound:
        listening = Listening(_Door(verbs), MOST)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(listening.accept, trio.SocketListener(bound), nursery)
            task_status.started()


class _bound:
    """A listening socket in *folder*; its name goes with it."""

    def __init__(self, folder: str) -> None:
        self._folder = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        self._socket = trio.socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)

    def __enter__(self) -> trio.socket.SocketType:
        with suppress(FileNotFoundError):  # of one that was killed
            os.unlink(NAME, dir_fd=self._folder)
        plain = socket.socket(fileno=os.dup(self._socket.fileno()))
        with plain:
            plain.bind(_path(self._folder))
            os.chmod(NAME, 0o600, dir_fd=self._folder)  # as the folder is, which counts
            plain.listen(MOST)
        return self._socket

    def __exit__(self, *error: object) -> None:
        with suppress(OSError):  # of a disk that takes no writes: the next one removes it
            os.unlink(NAME, dir_fd=self._folder)
        self._socket.close()
        os.close(self._folder)


def _path(folder: int) -> str:
    """The socket's path: short, wherever the folder lies (a name may have 107 bytes)."""
    return f"/proc/self/fd/{folder}/{NAME}"


class _Door:
    """Where commands come in."""

    def __init__(self, verbs: Mapping[str, Verb]) -> None:
        self._verbs = verbs

    async def serve(self, stream: trio.SocketStream) -> None:
        """Answer one question, and close *stream*.  Raises MediumFailed."""
        async with stream:
            with suppress(trio.BrokenResourceError):
                answer = await self._answer(stream)
                await stream.send_all(msgspec.json.encode(answer) + b"\n")

    async def _answer(self, stream: trio.SocketStream) -> dict[str, Any]:
        try:
            return {"done": await self._done(await _question(stream))}
        except UploadError as error:
            return _said(error)
        except (MediumFailed, trio.BrokenResourceError):
            raise
        except Exception:
            log.exception("a command ended by an error of ours")
            return _said(ServerBug("an error of ours; the daemon's log tells more"))

    async def _done(self, asked: Mapping[str, Any]) -> Any:
        verb = self._verbs.get(str(asked.get("do")))
        if verb is None:
            raise BadRequest("this daemon does not know that command: is it of another version?")
        return await verb(asked)


def _said(error: UploadError) -> dict[str, Any]:
    return {"error": error.message, "hint": error.hint, "code": error.code}


async def _question(stream: trio.SocketStream) -> dict[str, Any]:
    line = bytearray()
    with trio.move_on_after(PATIENCE):
        while not line.endswith(b"\n") and len(line) <= MAX_LINE:
            if not (data := await stream.receive_some(64 * 1024)):
                break
            line += data
    try:
        return msgspec.json.decode(line, type=dict[str, Any])
    except msgspec.DecodeError as error:
        raise BadRequest(f"that is no question: {error}") from error


class Refused(Exception):
    """The daemon has said no, and why; ``hint`` says what to do."""

    def __init__(self, message: str, hint: str | None) -> None:
        super().__init__(message)
        self.hint = hint


def ask(folder: str, do: str, **details: Any) -> Any:
    """What the daemon that has the lock on *folder* answers; blocks.  Raises Refused, OSError."""
    with _asked(folder, do, details) as file:
        line = file.readline()
    if not line:
        raise Refused("the daemon has ended before it answered", "the same again")
    answer = msgspec.json.decode(line, type=dict[str, Any])
    if "error" in answer:
        raise Refused(answer["error"], answer.get("hint"))
    return answer["done"]


def _asked(folder: str, do: str, details: Mapping[str, Any]) -> Any:
    place = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as one:
            one.connect(_path(place))
            one.sendall(msgspec.json.encode({"do": do, **details}) + b"\n")
            return one.makefile("rb")
    finally:
        os.close(place)
