"""Processes that are forked after the imports: a few milliseconds each, and to be killed at will.

``python -m tests.e2e.zygote`` reads one request a line, forks a child for it, and says how that
ended.  It never has a second thread, so that forking is right.
"""

from __future__ import annotations

import importlib
import json
import os
import select
import signal
import subprocess
import sys
import time
import traceback
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parents[2]
PATIENCE: Final = 60.0
"""Seconds after which a child counts as hung."""


@dataclass(frozen=True)
class Ended:
    """How a child ended: killed by *signal*, or with a *result*, or with what it *raised*."""

    signal: int
    result: Any
    raised: str | None


class Zygote:
    """One such process and its current child; *environment* is added to ours."""

    def __init__(self, environment: dict[str, str] | None = None) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.e2e.zygote"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **(environment or {})},
            cwd=ROOT,
            bufsize=0,
        )
        self._buffer = b""
        self.pid = 0

    def start(self, call: str, **arguments: Any) -> None:
        """Begin ``module:function(**arguments)`` in a child; its pid is in `pid`."""
        assert self._process.stdin
        self._process.stdin.write(json.dumps([call, arguments]).encode() + b"\n")
        self.pid = self._line(PATIENCE)["pid"]

    def kill(self) -> None:
        """SIGKILL the child, if it is still there; `wait` must not have been called."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)

    def wait(self) -> Ended:
        """How the child ended.  One that hangs is killed, and TimeoutError is raised."""
        result = raised = None
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                said = self._line(deadline - time.monotonic())
            except TimeoutError:
                self.kill()
                while "status" not in self._line(PATIENCE):
                    pass
                raise
            if "status" in said:
                status = said["status"]
                ended = Ended(os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0, result, raised)
                assert ended.signal or result is not None or raised, f"ended silently: {status}"
                return ended
            result, raised = said.get("result", result), said.get("raised", raised)

    def run(self, call: str, **arguments: Any) -> Ended:
        """`start` and `wait`."""
        self.start(call, **arguments)
        return self.wait()

    def result(self, call: str, **arguments: Any) -> Any:
        """What the call returned; AssertionError with its traceback if it did not."""
        ended = self.run(call, **arguments)
        assert ended.raised is None, ended.raised
        assert ended.signal == 0, f"killed by signal {ended.signal}"
        return ended.result

    def close(self) -> None:
        """End the process; no child may run."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.close()
        self._process.wait(PATIENCE)
        self._process.stdout.close()

    def _line(self, patience: float) -> dict[str, Any]:
        assert self._process.stdout
        fd = self._process.stdout.fileno()
        while b"\n" not in self._buffer:
            if not select.select([fd], [], [], max(0.0, patience))[0]:
                raise TimeoutError(f"child {self.pid} hangs")
            data = os.read(fd, 65536)
            assert data, "the zygote has ended"
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        said = json.loads(line)
        assert isinstance(said, dict)
        return said


def _say(**said: object) -> None:
    os.write(1, json.dumps(said).encode() + b"\n")


def _child(call: str, arguments: dict[str, Any]) -> None:
    os.close(0)
    _say(pid=os.getpid())
    module, _, name = call.partition(":")
    try:
        result = getattr(importlib.import_module(module), name)(**arguments)
    except BaseException:
        _say(raised=traceback.format_exc())
    else:
        _say(result=result)


def main() -> None:
    """Serve requests until there are no more."""
    import tests.e2e.driver  # noqa: F401 - so that no child has to

    buffer = b""
    while data := os.read(0, 65536):
        buffer += data
        while b"\n" in buffer:
            line, _, buffer = buffer.partition(b"\n")
            call, arguments = json.loads(line)
            pid = os.fork()
            if pid == 0:
                try:
                    _child(call, arguments)
                finally:
                    os._exit(0)
            _say(status=os.waitpid(pid, 0)[1])


if __name__ == "__main__":
    main()
