"""Servers in Node: @tus/server, ws with bufferutil, and the socket.io loop of a tutorial."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from bench.contenders.server import Server, contender, process
from bench.installing import NODE, node_modules, program

SCRIPTS = Path(__file__).parents[1] / "peers"


@contender("@tus/server")
def tus_server(folder: Path) -> Iterator[Server]:
    """@tus/server with its file store."""
    packages = ("@tus/server", "@tus/file-store")
    yield from _started("@tus/server", "tus_server.mjs", folder, *packages, tus="/files")


@contender("Node ws")
def ws(folder: Path) -> Iterator[Server]:
    """ws with bufferutil, every message written to a file."""
    yield from _started("Node ws", "ws_to_file.mjs", folder, "ws", "bufferutil")


@contender("socket.io loop")
def socketio(folder: Path) -> Iterator[Server]:
    """socket.io as tutorials use it: small chunks, one at a time, each acknowledged."""
    yield from _started("socket.io loop", "socketio_loop.mjs", folder, "socket.io")


def _started(
    name: str, script: str, folder: Path, package: str, *beside: str, tus: str = ""
) -> Iterator[Server]:
    node, modules = program("node", "nodejs"), node_modules()
    command = [node, str(SCRIPTS / script), str(folder), str(modules.parent)]
    env = {**os.environ, "NODE_ENV": "production"}
    log = folder.parent / f"{script}.log"
    version = ", ".join([NODE[package], *(f"{other} {NODE[other]}" for other in beside)])
    with process(command, log, r"^port (\d+)$", env=env) as (running, ready):
        assert ready is not None
        yield Server(
            name, version, int(ready[1]), (running.pid,), folder,
            "page cache", False, tus, log=log,
        )  # fmt: skip
