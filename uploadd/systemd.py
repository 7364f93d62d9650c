"""What systemd and the daemon tell each other: how it stands, sockets that are handed over.

The protocols are sd_notify(3) and sd_listen_fds(3).  Without systemd there is nobody to tell, and
every call does nothing.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Mapping, MutableMapping
from typing import Final

import trio

log = logging.getLogger("uploadd.systemd")
FIRST: Final = 3  # the first descriptor that is handed over
PATIENCE: Final = 1.0  # seconds in which systemd takes what it is told
EXTENSION: Final = 30.0
"""Seconds for which starting or stopping may go on after it was last said that it does."""


class Notifier:
    """Tells systemd how the daemon stands; made from the environment of a unit, or of no unit."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        address = environment.get("NOTIFY_SOCKET", "")
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        pid = environment.get("WATCHDOG_PID", str(os.getpid()))
        ours = self._address and pid == str(os.getpid())
        seconds = environment.get("WATCHDOG_USEC", "")
        self.watchdog = int(seconds) / 1e6 if ours and seconds.isdecimal() else 0.0
        """Seconds after which a daemon that is silent is taken for dead; 0: never."""

    async def ready(self, status: str) -> None:
        """Start-up, or a reload, is over; whether it went well, *status* says."""
        await self._tell(READY="1", STATUS=status)

    async def status(self, text: str) -> None:
        """One line for ``systemctl status``."""
        await self._tell(STATUS=text)

    async def reloading(self) -> None:
        """A reload begins; `ready` ends it."""
        now = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        await self._tell(RELOADING="1", MONOTONIC_USEC=str(now), STATUS="reloading")

    async def stopping(self, status: str) -> None:
        await self._tell(STOPPING="1", STATUS=status)

    async def failed(self, number: int, status: str) -> None:
        """The last word of a daemon that ends by an error, of that *number* if it has one."""
        more = {"ERRNO": str(number)} if number else {}
        await self._tell(STATUS=status, **more)

    async def extend(self, status: str | None = None) -> None:
        """Starting or stopping goes on: it may take `EXTENSION` from now."""
        more = {} if status is None else {"STATUS": status}
        await self._tell(EXTEND_TIMEOUT_USEC=str(int(EXTENSION * 1e6)), **more)

    async def beat(self) -> None:
        """Say for ever that the loop turns, twice as often as it must be said."""
        if not self.watchdog:
            return
        while True:
            await self._tell(WATCHDOG="1")
            await trio.sleep(self.watchdog / 2)

    async def _tell(self, **fields: str) -> None:
        """One datagram.  It cannot be said: then the daemon goes on all the same."""
        if not self._address:
            await trio.lowlevel.checkpoint()
            return
        lines = (f"{name}={' '.join(value.split())}" for name, value in fields.items())
        with trio.socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
            try:
                with trio.fail_after(PATIENCE):
                    await channel.connect(self._address)
                    await channel.send("\n".join(lines).encode("utf-8", "replace"))
            except (OSError, trio.TooSlowError) as error:
                log.warning("cannot tell systemd how it stands: %s", error)


def passed(environment: MutableMapping[str, str]) -> dict[str, list[socket.socket]]:
    """The sockets that systemd has opened for us, by their names; none without socket units.

    Call it once: what tells of them is taken out of *environment*, so no child believes it.
    Raises OSError for what is no socket.
    """
    told = {name: environment.pop(f"LISTEN_{name}", "") for name in ("PID", "FDS", "FDNAMES")}
    if told["PID"] != str(os.getpid()) or not told["FDS"].isdigit():
        return {}
    names = told["FDNAMES"].split(":") if told["FDNAMES"] else []
    found: dict[str, list[socket.socket]] = {}
    for index in range(int(told["FDS"])):
        os.set_inheritable(FIRST + index, False)
        given = socket.socket(fileno=FIRST + index)
        given.setblocking(False)  # systemd hands over blocking ones
        found.setdefault(names[index] if index < len(names) else "", []).append(given)
    return found
