"""One running server, and how it is started and ended."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from bench.installing import Missing
from bench.proc import end_with_parent

START_SECONDS = 30.0
STOP_SECONDS = 20.0
POLL = 0.01


@dataclass(eq=False)
class Server:
    """Where it listens, where it writes, and what its answer means."""

    name: str
    version: str
    port: int
    pids: tuple[int, ...] = ()
    folder: Path | None = None
    durability: str = ""
    flushes: bool | None = False
    tus: str = "/files/"
    """Where it takes tus uploads, if it does."""
    note: str = ""
    started: float = 0.0
    """Seconds from its start until it listened."""
    log: Path | None = None
    made: list[str] = field(default_factory=list)
    """Paths on a foreign server that somebody has to delete again."""

    @property
    def root(self) -> Path:
        """Where it writes, of one that we started."""
        assert self.folder is not None
        return self.folder

    def clean(self) -> None:
        """Remove what was uploaded; what a server keeps for itself stays."""
        for entry in os.scandir(self.folder) if self.folder else ():
            if entry.is_file(follow_symlinks=False):
                with suppress(FileNotFoundError):
                    os.unlink(entry.path)


Starter = Callable[[Path], AbstractContextManager[Server]]
"""Starts one in an empty folder.  Raises Missing when it cannot be had here."""


def contender(name: str) -> Callable[[Callable[[Path], Iterator[Server]]], Starter]:
    """Make a starter; *name* is what tables call it, also when it cannot be had."""

    def made(start: Callable[[Path], Iterator[Server]]) -> Starter:
        starter = contextmanager(start)
        starter.__name__ = name
        return starter

    return made


def on(root: Path, starter: Starter) -> Starter:
    """The same server on the files that another one has published in *root*."""

    @contender(starter.__name__)
    def start(folder: Path) -> Iterator[Server]:
        with starter(root) as server:
            yield server

    return start


@contextmanager
def process(
    command: list[str],
    log: Path,
    ready: str = "",
    *,
    port: int = 0,
    env: Mapping[str, str] | None = None,
) -> Iterator[tuple[subprocess.Popen[bytes], re.Match[str] | None]]:
    """Run *command* until the end of the block; it has begun when its log matches *ready*, or when
    *port* answers.  Raises Missing when it ends before.
    """
    with log.open("wb") as out:
        running = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, env=env,
            preexec_fn=end_with_parent,  # noqa: PLW1509 - there are no threads here
        )  # fmt: skip
    try:
        yield running, _wait(running, log, ready, port)
    finally:
        running.terminate()
        try:
            running.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            running.kill()
            running.wait()


def _wait(
    running: subprocess.Popen[bytes], log: Path, ready: str, port: int
) -> re.Match[str] | None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        ended = running.poll() is not None
        if ready:
            found = re.search(ready, log.read_text(errors="replace"), re.MULTILINE)
            if found:
                return found
        elif answers(port):
            return None
        if ended:
            break
        time.sleep(POLL)
    lines = log.read_text(errors="replace").strip().splitlines() or ["it said nothing"]
    raise Missing(f"{os.path.basename(str(running.args[0]))} did not start: {lines[-1]}")  # type: ignore[index]


def answers(port: int) -> bool:
    """Whether somebody listens there."""
    with suppress(OSError):
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
        return True
    return False


def free_port() -> int:
    """One that nobody had a moment ago, for servers that cannot take one by themselves."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
        return port


def new_folder(parent: Path, name: str) -> Path:
    """A folder that was not there."""
    folder = parent / name
    folder.mkdir()
    return folder
