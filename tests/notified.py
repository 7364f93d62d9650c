"""What systemd does for a unit: it hears what the daemon tells, and hands over sockets."""

from __future__ import annotations

import contextlib
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Self

SECONDS: Final = 60.0
Told = dict[str, str]


class Ear:
    """The socket of ``$NOTIFY_SOCKET``, at *address*; ``@`` begins one without a file."""

    def __init__(self, address: str | Path) -> None:
        self.address = str(address)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        name = f"\0{self.address[1:]}" if self.address.startswith("@") else self.address
        self._socket.bind(name)
        self._socket.settimeout(SECONDS)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._socket.close()

    def hear(self) -> Told:
        """The next thing that is told."""
        lines = self._socket.recv(65536).decode().split("\n")
        return dict(line.split("=", 1) for line in lines)  # type: ignore[misc]

    def until(self, field: str) -> Told:
        """The next thing that is told with *field* in it."""
        while field not in (told := self.hear()):
            pass
        return told

    def silent(self) -> None:
        """Nothing more was told."""
        self._socket.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            raise AssertionError(self._socket.recv(65536))


_HANDING: Final = """
import fcntl, os, sys
fds = [fcntl.fcntl(int(fd), fcntl.F_DUPFD, 100) for fd in sys.argv[1].split(",")]
for index, fd in enumerate(fds):
    os.dup2(fd, 3 + index)
os.environ.setdefault("LISTEN_PID", str(os.getpid()))
os.environ["LISTEN_FDS"] = str(len(fds))
os.execvp(sys.argv[2], sys.argv[2:])
"""


def handing(sockets: Sequence[socket.socket]) -> list[str]:
    """A command that runs the one behind it with *sockets*, which it must inherit."""
    fds = ",".join(str(one.fileno()) for one in sockets)
    return [sys.executable, "-c", _HANDING, fds]
