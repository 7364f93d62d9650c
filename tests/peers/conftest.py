"""A real daemon, a proxy in front of it, and clients that others have written."""

from __future__ import annotations

import json
import os
import random
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final, Self

import pytest

from tests.browser.conftest import Server
from tests.peers.installing import node, npm, pypi
from tests.peers.proxy import Proxy, proxied

HERE: Final = Path(__file__).parent
PATIENCE: Final = 20.0
"""Seconds in which a client must be ready with anything, on a busy machine."""
STOPS: Final = ("--set", 'timeouts.stop="1 s"')
"""Nobody in these tests would use the time that a daemon has to stop."""


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Server]:
    """A daemon that runs, with nothing stored; its port stays the same when it is restarted."""
    folder = tmp_path / "store"
    folder.mkdir()
    with Server(folder, *STOPS) as server:
        server.start()
        yield server


@pytest.fixture
def proxy(daemon: Server) -> Iterator[Proxy]:
    """A proxy in front of the daemon."""
    with proxied(daemon.port) as proxy:
        yield proxy


MakeFile = Callable[..., Path]


@pytest.fixture
def make_file(tmp_path: Path) -> MakeFile:
    """Makes files that are not like each other: ``make_file(length, name="file.bin")``."""

    def make(length: int, name: str = "file.bin") -> Path:
        path = tmp_path / name
        path.write_bytes(random.Random(f"{name} {length}").randbytes(length))
        return path

    return make


def published(daemon: Server) -> dict[str, bytes]:
    """What has its final name, with its bytes."""
    return {path.name: path.read_bytes() for path in daemon.dir.iterdir() if path.is_file()}


def has_written(daemon: Server, count: int) -> bool:
    """Whether the unfinished uploads come to have *count* bytes in their files together."""
    growing = daemon.folder / ".uploadd" / "growing"
    return daemon.settles(
        lambda: sum(path.stat().st_size for path in growing.iterdir()) == count, PATIENCE
    )


# --- tus-js-client in Node ------------------------------------------------------------------------


class TusJs:
    """tus-js-client in a process of its own, told what to do word by word."""

    def __init__(self, job: dict[str, Any]) -> None:
        words = [node(), str(HERE / "drive.mjs"), json.dumps(job)]
        self._process = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._watch = threading.Timer(PATIENCE, self._process.kill)
        self.events: list[dict[str, Any]] = []

    def __enter__(self) -> Self:
        self._watch.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._watch.cancel()
        self._process.kill()
        self._process.communicate()

    def say(self, word: str) -> Self:
        """Tell it *word*."""
        assert self._process.stdin is not None
        self._process.stdin.write(word + "\n")
        self._process.stdin.flush()
        return self

    def until(self, event: str) -> dict[str, Any]:
        """Wait for *event*.  Fails when the client gives up before."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.events.append(json.loads(line))
            if self.events[-1]["event"] == event:
                return self.events[-1]
            assert self.events[-1]["event"] != "error", self.events[-1]
        raise AssertionError(f"no {event!r} came, only {self.events[-5:]}")


TusJsMaker = Callable[..., TusJs]
VERSIONS: Final = ("4.3.1", "5.0.0-pre2")


@pytest.fixture(scope="session")
def tus_js_folders() -> dict[str, Path]:
    """Where which version of tus-js-client is."""
    return {
        version: npm(f"tus-js-client-{version}", f"tus-js-client@{version}") for version in VERSIONS
    }


@pytest.fixture
def tus_js(tus_js_folders: dict[str, Path], proxy: Proxy) -> Iterator[TusJsMaker]:
    """Starts clients: ``tus_js(version, file, source="buffer", storage=None, **options)``.

    They go through the proxy, in one process each.
    """
    with ExitStack() as stack:

        def start(
            version: str,
            file: Path,
            source: str = "buffer",
            storage: Path | None = None,
            **options: Any,
        ) -> TusJs:
            job = {
                "folder": str(tus_js_folders[version]),
                "file": str(file),
                "source": source,
                "storage": None if storage is None else os.fspath(storage),
                "options": {"endpoint": f"{proxy.url}/files/"} | options,
            }
            return stack.enter_context(TusJs(job))

        yield start


# --- tuspy ----------------------------------------------------------------------------------------


class Tuspy:
    """tuspy with the Python that has it; its uploads go through *proxy*."""

    def __init__(self, python: Path, proxy: Proxy) -> None:
        self._python, self._proxy = python, proxy
        self.headers: dict[str, str] = {}

    def run(
        self, file: Path, storage: Path | None = None, stop_at: int | None = None, **options: Any
    ) -> dict[str, Any]:
        """Upload *file* up to *stop_at*: its URL, where it began, and where it is now."""
        with self.running(file, storage, stop_at, **options) as told:
            pass
        return told

    @contextmanager
    def running(
        self, file: Path, storage: Path | None = None, stop_at: int | None = None, **options: Any
    ) -> Iterator[dict[str, Any]]:
        """Upload while the block runs, and to the end; then what `run` tells is there."""
        job = {
            "endpoint": f"{self._proxy.url}/files/",
            "file": str(file),
            "storage": None if storage is None else str(storage),
            "stop_at": stop_at,
            "headers": self.headers,
            "options": options,
        }
        words = [str(self._python), str(HERE / "drive.py"), json.dumps(job)]
        told: dict[str, Any] = {}
        with subprocess.Popen(
            words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process:
            try:
                yield told
                said, complaints = process.communicate(timeout=PATIENCE)
            finally:
                process.kill()
        assert process.returncode == 0, f"{complaints}\n{self._proxy.said}"
        told.update(json.loads(said))


@pytest.fixture(scope="session")
def tuspy_python() -> Path:
    """The Python that has tuspy."""
    return pypi("tuspy-1.1.0", "tuspy==1.1.0")


@pytest.fixture
def tuspy(tuspy_python: Path, proxy: Proxy) -> Tuspy:
    """Runs tuspy."""
    return Tuspy(tuspy_python, proxy)
