"""The real daemon as a process of its own, to be watched, stopped and killed."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, Self
from urllib.parse import urlsplit

START: Final = 60.0
"""Seconds in which it must be ready, on a machine that has much else to do."""
POLL: Final = 0.02
_READY: Final = re.compile(
    r'(?:^|"message": ")uploadd \S+ serves (?P<dir>.*) at (?P<url>(https?://|unix:)[^\s"]+)'
)


class Daemon:
    """``uploadd serve FOLDER`` on a free port.  Leaving the ``with`` block kills it.

    *under* is a command that runs it with less: fewer descriptors, fewer rights.  *environment*
    is laid over that of the tests, *inherits* are descriptors; *port* None: as it is configured.
    """

    def __init__(
        self,
        folder: Path,
        *args: str,
        under: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        inherits: Sequence[int] = (),
        port: int | None = 0,
    ) -> None:
        self.folder, self.args, self.under = folder, args, under
        self.environment, self.inherits, self.port = environment or {}, inherits, port
        self.url = ""
        self._lines: list[str] = []
        self._process: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None
        self._ready = threading.Event()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.kill()

    # --- its life -------------------------------------------------------------------------------

    def start(self) -> str:
        """Start it and wait until it is ready; its base URL."""
        self.launch()
        if not self._ready.wait(START) or not self.url:
            self.kill()
            raise AssertionError(f"the daemon did not start:\n{self.log}")
        return self.url

    def launch(self) -> None:
        """Start it, and do not wait."""
        assert self._process is None, "it runs"
        self.url = ""
        self._ready.clear()
        command = [sys.executable, "-m", "uploadd", "serve", str(self.folder)]
        if self.port is not None:
            command += ["--port", str(self.port)]
        self._process = subprocess.Popen(
            [*self.under, *command, *self.args],
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONFAULTHANDLER": "1", **self.environment},
            pass_fds=self.inherits,
        )
        self._reader = threading.Thread(target=self._read, args=(self._process,))
        self._reader.start()

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stderr is not None
        with process.stderr:
            for line in process.stderr:
                self._lines.append(line)
                if found := _READY.search(line.rstrip("\n")):
                    self.url = found["url"]
                    self._ready.set()
        self._ready.set()

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        assert self._process is not None
        self._process.send_signal(number)

    def terminate(self, seconds: float = START) -> int:
        """Ask it to end and wait; its exit code."""
        self.signal(signal.SIGTERM)
        return self.wait(seconds)

    def wait(self, seconds: float = START) -> int:
        """Wait until it has ended; its exit code.  After *seconds* it says what it does instead."""
        assert self._process is not None
        try:
            code = self._process.wait(seconds)
        except subprocess.TimeoutExpired as error:
            self._process.send_signal(signal.SIGABRT)  # every thread's traceback is in the log
            self._gone()
            raise AssertionError(f"the daemon does not end:\n{self.log}") from error
        self._gone()
        return code

    def _gone(self) -> None:
        assert self._process is not None
        assert self._reader is not None
        self._process.wait()
        self._reader.join()
        self._process = self._reader = None

    def kill(self) -> None:
        """``kill -9``, and wait until nothing of it is left.  Nothing, when it does not run."""
        if self._process is not None:
            self._process.kill()
            self.wait()

    # --- what can be seen of it -----------------------------------------------------------------

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self._process is not None
        return self._process.pid

    @property
    def address(self) -> tuple[str, int]:
        """Host and port."""
        parts = urlsplit(self.url)
        assert parts.hostname is not None
        assert parts.port is not None
        return parts.hostname, parts.port

    @property
    def log(self) -> str:
        """All it has said on standard error, over all its lives."""
        return "".join(self._lines)

    def rss(self) -> int:
        """Bytes of memory that it has resident now."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def fds(self) -> int:
        """How many descriptors it has open."""
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    @staticmethod
    def settles(condition: Callable[[], bool], seconds: float = START) -> bool:
        """Whether *condition* comes true: of another process there is nothing to wait for."""
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                return False
            time.sleep(POLL)
        return True
