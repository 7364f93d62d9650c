"""What commands ask of a daemon beside it: one question, one answer, and nothing that hurts it."""

from __future__ import annotations

import os
import resource
import socket
import stat
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio

from uploadd import control
from uploadd.errors import NotFound


async def double(asked: Mapping[str, Any]) -> int:
    """A chore."""
    return 2 * int(asked["number"])


async def refuse(asked: Mapping[str, Any]) -> None:
    """One that cannot be done."""
    raise NotFound("there is no such thing", hint="look elsewhere")


async def stumble(asked: Mapping[str, Any]) -> None:
    """One with a mistake of ours in it."""
    raise KeyError(asked["do"])


@asynccontextmanager
async def served(folder: Path) -> AsyncIterator[None]:
    """A daemon's end of it."""
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            verbs = {"double": double, "refuse": refuse, "stumble": stumble}
            await nursery.start(control.serve, str(folder), verbs)
            yield
            nursery.cancel_scope.cancel()


async def ask(folder: Path, do: str, **details: Any) -> Any:
    """As a command would, in a thread."""
    return await trio.to_thread.run_sync(partial(control.ask, str(folder), do, **details))


async def test_a_question_has_its_answer(tmp_path: Path) -> None:
    """Also in a folder with a long name, and beside others; only its own user gets there."""
    deep = tmp_path / ("d" * 100) / ("e" * 100)
    deep.mkdir(parents=True)
    async with served(deep):
        assert stat.S_IMODE(os.stat(deep / control.NAME).st_mode) == 0o600
        assert await ask(deep, "double", number=21) == 42
        with pytest.raises(control.Refused, match="no such thing") as told:
            await ask(deep, "refuse")
        assert told.value.hint == "look elsewhere"
        with pytest.raises(control.Refused, match="another version"):
            await ask(deep, "triple")
    assert not (deep / control.NAME).exists()


async def test_who_comes_when_there_is_no_descriptor_waits_for_one(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """And does not end the daemon."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    async with served(tmp_path):
        with socket.socket(socket.AF_UNIX) as peer:
            os.close(next_one := os.dup(peer.fileno()))
            resource.setrlimit(resource.RLIMIT_NOFILE, (next_one, hard))
            try:
                peer.connect(str(tmp_path / control.NAME))
                while "cannot accept" not in caplog.text:
                    await trio.lowlevel.checkpoint()
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            peer.sendall(b'{"do": "double", "number": 21}\n')
            assert await trio.to_thread.run_sync(peer.recv, 100) == b'{"done":42}\n'


async def test_without_a_daemon_there_is_nobody_to_ask(tmp_path: Path) -> None:
    """Nor with what a killed one has left, which the next one takes away."""
    with pytest.raises(FileNotFoundError):
        await ask(tmp_path, "double")
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(tmp_path / control.NAME))
    with pytest.raises(ConnectionRefusedError):
        await ask(tmp_path, "double")
    async with served(tmp_path):
        assert await ask(tmp_path, "double", number=1) == 2


async def test_an_error_of_ours_ends_one_command_and_nothing_else(tmp_path: Path) -> None:
    """Who asked is told that there was one; the daemon goes on."""
    async with served(tmp_path):
        with pytest.raises(control.Refused, match="error of ours"):
            await ask(tmp_path, "stumble")
        assert await ask(tmp_path, "double", number=1) == 2


@pytest.mark.parametrize("said", [b"", b"\n", b"[]\n", b"{\n", b"\xff\n", b'{"do": []}\n'])
async def test_what_is_no_question_hurts_nobody(tmp_path: Path, said: bytes) -> None:
    """It is refused, or its end is waited for no longer than it lasts."""
    async with served(tmp_path):
        answer = b""
        async with await trio.open_unix_socket(str(tmp_path / control.NAME)) as stream:
            await stream.send_all(said)
            await stream.send_eof()
            while data := await stream.receive_some():
                answer += data
        assert "error" in msgspec.json.decode(answer)
        assert await ask(tmp_path, "double", number=1) == 2
