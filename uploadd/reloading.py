"""A new configuration while the daemon runs: all of it is good, or nothing changes."""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final, NamedTuple, TypeAlias

import trio

from uploadd.config import Config, ConfigError, Loaded, Place, Problem, changed, reloaded
from uploadd.standing import Standing

log = logging.getLogger("uploadd.reload")
PATIENCE: Final = 20.0
"""Seconds in which all files can be read; less than systemd and those who wait for it have."""
_SILENCE: Final = Problem(Place("configuration"), f"its files were not read within {PATIENCE:g} s")

Prepare: TypeAlias = Callable[[Config], Callable[[], None]]
"""Makes all that a configuration asks for, in a thread, and returns what puts it into use, on the
loop.  Raises ConfigError when it cannot be; what it returns must not fail."""


@dataclass(slots=True)
class Reloading:
    """Reads the configuration again with *read*; *parts* are those that can change."""

    config: Config
    """What counts now."""
    read: Callable[[], Loaded[Config]]
    parts: Sequence[Prepare]
    successful: bool = True
    """Whether the newest attempt went well."""
    succeeded: float = field(default_factory=time.time)
    """Epoch seconds of the last success."""
    failure: str = ""
    """Why the newest attempt failed, in one line."""

    async def reload(self) -> bool:
        """Read, prepare everything, then swap; whether it went well.  The log says what did not."""
        try:
            with trio.fail_after(PATIENCE):  # a disk may hang, and a stop does not wait for it
                prepared = await trio.to_thread.run_sync(self._prepared, abandon_on_cancel=True)
        except (ConfigError, trio.TooSlowError) as error:
            self._refuse(error if isinstance(error, ConfigError) else ConfigError([_SILENCE]))
            return False
        loaded, new, swaps, waiting = prepared
        for swap in swaps:
            swap()
        took = [".".join(path) for path, _ in changed(self.config, new)]
        self.config, self.successful, self.failure = new, True, ""
        self.succeeded = time.time()
        if waiting:
            log.warning("takes effect after a restart: %s", ", ".join(waiting))
        log.info(
            "the configuration was read again (%s): %s",
            ", ".join(loaded.files) or "there is no file",
            ", ".join(took) or "nothing has changed",
        )
        return True

    def _refuse(self, error: ConfigError) -> None:
        log.error("the configuration is not taken, and the old one goes on:\n%s", error)
        first, more = error.problems[0], len(error.problems) - 1
        others = f" (and {more} more)" if more else ""
        self.successful, self.failure = False, f"{first.place}: {first.message}{others}"

    def _prepared(self) -> tuple[Loaded[Config], Config, list[Callable[[], None]], list[str]]:
        loaded = self.read()
        new, waiting = reloaded(self.config, loaded)
        return loaded, new, [prepare(new) for prepare in self.parts], waiting

    async def run(self, hangups: Hangups, standing: Standing) -> None:
        """Reload at each of *hangups*, also those of before; but one may say that our terminal was
        closed, and that ends us.
        """
        closed = False
        async for _ in hangups.signals:
            if closed:
                continue  # the shell tells of it, and the kernel once more
            if closed := hangups.end and not has_terminal():
                log.info("the terminal is closed")
                signal.raise_signal(signal.SIGTERM)
                continue
            async with standing.reloading():
                await self.reload()


class Hangups(NamedTuple):
    """Every SIGHUP, and whether the one that comes with the end of our terminal ends us."""

    signals: AsyncIterator[int]
    end: bool


@contextmanager
def hearing_hangups() -> Iterator[Hangups]:
    """Every SIGHUP from now on.  One that comes too late for a reload ends nothing."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # what the receiver gives back in the end
    with trio.open_signal_receiver(signal.SIGHUP) as signals:
        yield Hangups(signals, before is not signal.SIG_IGN and has_terminal())


def has_terminal() -> bool:
    """Whether there is a terminal that we go with when it is closed."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        return False
    return True
