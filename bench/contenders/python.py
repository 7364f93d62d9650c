"""Servers in Python: copyparty, tuspyserver under uvicorn, and aiohttp with a handler to a file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from bench.contenders.node import SCRIPTS
from bench.contenders.server import Server, contender, free_port, process
from bench.installing import PYTHON, python

ACK = "page cache"


@contender("aiohttp")
def aiohttp(folder: Path) -> Iterator[Server]:
    """aiohttp with what its users write: WebSocket, PUT and forms to files, and a static route."""
    command = [str(python("aiohttp")), str(SCRIPTS / "aiohttp_files.py"), str(folder)]
    log = folder.parent / "aiohttp.log"
    with process(command, log, r"^port (\d+)$") as (running, ready):
        assert ready is not None
        yield Server(
            "aiohttp", _version("aiohttp"), int(ready[1]), (running.pid,), folder, ACK, False
        )


@contender("copyparty")
def copyparty(folder: Path) -> Iterator[Server]:
    """copyparty, everybody may read and write."""
    port = free_port()
    command = [
        *(str(python("copyparty")), "-m", "copyparty", "-i", "127.0.0.1", "-p", str(port)),
        *("-q", "-v", f"{folder}::rwd", "--wram", "--no-thumb", "--no-robots", "-nc", "4096"),
        *("--hist", str(folder.parent / "copyparty.hist"), "--daw"),
    ]
    with process(command, folder.parent / "copyparty.log", port=port) as (running, _):
        yield Server("copyparty", _version("copyparty"), port, (running.pid,), folder, ACK, False)


@contender("tuspyserver")
def tuspyserver(folder: Path) -> Iterator[Server]:
    """tuspyserver, one worker of uvicorn with uvloop and httptools."""
    port = free_port()
    script = str(SCRIPTS / "tuspyserver_files.py")
    command = [str(python("tuspyserver")), script, str(folder), str(port)]
    with process(command, folder.parent / "tuspyserver.log", port=port) as (running, _):
        yield Server(
            "tuspyserver", _version("tuspyserver"), port, (running.pid,), folder, ACK, False,
        )  # fmt: skip


def _version(name: str) -> str:
    return ", ".join(PYTHON[name]).removeprefix(f"{name}==").replace("==", " ")
