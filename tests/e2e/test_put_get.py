"""``uploadd put`` and ``get`` as processes, and what happens to them when something is killed."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
import trio

from tests.e2e.proxy import Proxy, proxied
from uploadd.client import exits

MIB = 1 << 20
SIZE = 96 * MIB
HELD = 48 * MIB
OVERHEAD = MIB  # headers and handshakes, of all connections together
STARTED: list[trio.Process] = []  # to be killed when a test fails
COMMAND = [sys.executable, "-m", "uploadd"]


class Daemon:
    """``uploadd serve``, which can be killed and started again."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.process: trio.Process
        self.port = 0

    async def start(self) -> int:
        """Start it; the port on which it listens."""
        words = [*COMMAND, "serve", str(self._folder), "--port", "0"]
        self.process = await trio.lowlevel.open_process(words, stderr=subprocess.PIPE)
        said = b""
        while not (match := re.search(rb" at http://127\.0\.0\.1:([0-9]+)\n", said)):
            assert self.process.stderr is not None
            more = await self.process.stderr.receive_some()
            assert more, said.decode()
            said += more
        self.port = int(match[1])
        return self.port

    async def end(self, number: signal.Signals) -> None:
        """Send it a signal and wait for its end."""
        self.process.send_signal(number)
        await self.process.wait()
        assert self.process.stderr is not None
        await self.process.stderr.aclose()


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of its own, in which the commands run."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    monkeypatch.delenv("UPLOADD_URL", raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "store").mkdir()
    return tmp_path


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file that takes a while, of which no two places are the same."""
    path = tmp_path_factory.mktemp("film") / "film.mp4"
    path.write_bytes(os.urandom(SIZE))
    return path


@asynccontextmanager
async def running(home: Path) -> AsyncIterator[tuple[Daemon, Proxy]]:
    """A daemon, and a proxy in front of it."""
    daemon = Daemon(home / "store")
    try:
        with trio.fail_after(120):
            async with proxied(await daemon.start()) as proxy:
                yield daemon, proxy
    finally:
        with trio.CancelScope(shield=True):
            await daemon.end(signal.SIGKILL)
            for process in STARTED:
                process.kill()
                await process.wait()
            STARTED.clear()


async def start(*words: str, stdin: int | None = None) -> trio.Process:
    """A command that runs."""
    process = await trio.lowlevel.open_process(
        [*COMMAND, *words], stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    STARTED.append(process)
    return process


async def finish(process: trio.Process) -> tuple[int, str, str]:
    """Its exit code and what it said."""
    said: dict[str, bytes] = {}

    async def read(name: str, stream: trio.abc.ReceiveStream | None) -> None:
        assert stream is not None
        said[name] = b"".join([part async for part in stream])

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read, "out", process.stdout)
        nursery.start_soon(read, "err", process.stderr)
    return await process.wait(), said["out"].decode(), said["err"].decode()


def only(folder: Path) -> Path:
    """The one file that is published there."""
    [path] = [path for path in folder.iterdir() if path.name != ".uploadd"]
    return path


def same(one: Path, other: Path) -> bool:
    """Whether two files have the same bytes."""
    return one.read_bytes() == other.read_bytes()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
async def test_a_daemon_that_is_restarted_loses_no_upload(
    home: Path, film: Path, number: signal.Signals
) -> None:
    """Killed or asked to stop: the command waits, and sends what was not durable and the rest."""
    async with running(home) as (daemon, proxy):
        proxy.hold_at = HELD
        put = await start("put", str(film), proxy.url)
        await proxy.reached(up=HELD, offset=HELD // 2)
        acknowledged = proxy.offset
        if number == signal.SIGTERM:
            proxy.hold_at = None
        await daemon.end(number)
        proxy.target = await daemon.start()
        proxy.go_on()
        code, out, err = await finish(put)
        assert code == exits.OK, err
        assert proxy.up <= SIZE - acknowledged + OVERHEAD
    assert re.fullmatch(rf"{proxy.url}/f/[^/]+/film\.mp4\n", out)
    assert "; trying again " in err
    assert err.endswith(", 1 resumed, 0 failed\n")
    assert same(only(home / "store"), film)


async def test_a_command_that_is_killed_goes_on_when_it_runs_again(home: Path, film: Path) -> None:
    """What was acknowledged is not sent again."""
    async with running(home) as (_, proxy):
        proxy.hold_at = HELD
        put = await start("put", str(film), proxy.url)
        await proxy.reached(up=HELD, offset=HELD // 2)
        put.kill()
        await finish(put)
        acknowledged = proxy.offset
        proxy.go_on()
        code, _, err = await finish(await start("put", str(film), proxy.url))
        assert code == exits.OK, err
        assert proxy.up <= SIZE - acknowledged + OVERHEAD
    assert err.endswith(", 1 resumed, 0 failed\n")
    assert same(only(home / "store"), film)
    assert list((home / "state" / "uploadd").iterdir()) == []


async def test_ctrl_c_says_what_to_type_and_that_goes_on(home: Path, film: Path) -> None:
    """The words that it prints are a command."""
    async with running(home) as (_, proxy):
        proxy.hold_at = HELD
        put = await start("put", str(film), proxy.url)
        await proxy.reached(up=HELD, offset=HELD // 2)
        put.send_signal(signal.SIGINT)
        code, out, err = await finish(put)
        assert (code, out) == (exits.SIGNALLED + signal.SIGINT, "")
        assert err.startswith("interrupted: 0 of 1 file stored")
        words = shlex.split(err.splitlines()[-1].removeprefix("→ "))
        assert words[0] == "uploadd"
        sent = proxy.up
        proxy.go_on()
        code, _, err = await finish(await start(*words[1:]))
        assert code == exits.OK, err
        assert sent + proxy.up - SIZE < 32 * MIB
    assert err.endswith(", 1 resumed, 0 failed\n")
    assert f"{SIZE // MIB}.0 MiB, " in err  # of which less moved now
    assert same(only(home / "store"), film)


async def test_ctrl_c_twice_quits_at_once(home: Path) -> None:
    """Also one that hangs because nobody reads what it prints; no traceback is seen."""
    (home / "file").write_bytes(b"data")
    unread, full = os.pipe()
    os.set_blocking(full, False)
    with suppress(BlockingIOError):
        while True:
            os.write(full, bytes(4096))
    os.set_blocking(full, True)
    async with running(home) as (_, proxy):
        words = [*COMMAND, "put", "--json", "file", proxy.url]
        put = await trio.lowlevel.open_process(words, stdout=full, stderr=subprocess.PIPE)
        STARTED.append(put)
        await proxy.reached(up=1)
        with trio.move_on_after(30):
            while put.poll() is None:
                put.send_signal(signal.SIGINT)
                await trio.sleep(0.05)  # two that come together are one
        assert put.returncode == -signal.SIGINT
        assert put.stderr is not None
        assert b"Traceback" not in b"".join([part async for part in put.stderr])
    os.close(unread)
    os.close(full)


async def test_a_folder_is_interrupted_and_goes_on(home: Path, film: Path) -> None:
    """The line that is printed sends the rest, keeps the paths, and stores nothing twice."""
    (home / "holiday" / "day 1").mkdir(parents=True)
    for number in range(20):
        (home / "holiday" / "day 1" / f"{number:02}.jpg").write_bytes(os.urandom(1000))
    os.link(film, home / "holiday" / "film.mp4")
    async with running(home) as (_, proxy):
        proxy.hold_at = HELD
        words = ["--exclude", "*.tmp", "--jobs", "2", "holiday", proxy.url]
        put = await start("put", *words)
        await proxy.reached(up=HELD, offset=HELD // 2)
        put.send_signal(signal.SIGINT)
        code, out, err = await finish(put)
        assert code == exits.SIGNALLED + signal.SIGINT
        assert len(out.splitlines()) == 20
        assert err.startswith("interrupted: 20 files stored; what was sent of the rest is kept\n")
        sent = proxy.up
        proxy.go_on()
        again = shlex.split(err.splitlines()[-1].removeprefix("→ "))
        code, more, err = await finish(await start(*again[1:]))
        assert code == exits.OK, err
        assert sent + proxy.up - SIZE < 32 * MIB
    assert more.splitlines()[:20] == out.splitlines()
    assert err.endswith(", 21 resumed, 0 failed\n")
    stored = home / "store" / "holiday"
    assert sorted(path.name for path in (stored / "day 1").iterdir()) == [
        f"{number:02}.jpg" for number in range(20)
    ]
    for path in stored.rglob("*.*"):
        assert same(path, home / path.relative_to(home / "store"))
    assert list((home / "state" / "uploadd").iterdir()) == []


async def test_a_watched_folder_survives_the_daemon_and_the_watcher(home: Path) -> None:
    """What appears is stored; a new watcher stores only what is new."""
    (home / "in").mkdir()
    (home / "in" / "one").write_bytes(b"1")
    words = ["put", "--watch", "in/", "--settle", "0.2s"]
    async with running(home) as (daemon, proxy):
        first = await start(*words, proxy.url)
        assert first.stdout is not None
        assert b"/one\n" in await first.stdout.receive_some()
        await daemon.end(signal.SIGKILL)
        (home / "in" / "two").write_bytes(b"2")
        proxy.target = await daemon.start()
        assert b"/two\n" in await first.stdout.receive_some()
        first.send_signal(signal.SIGINT)
        code, _, err = await finish(first)
        assert code == exits.SIGNALLED + signal.SIGINT
        assert err.endswith(f"→ uploadd put --watch in/ --settle 0.2s {proxy.url}/\n")
        (home / "in" / "three").write_bytes(b"3")
        second = await start(*words, proxy.url)
        assert second.stdout is not None
        told = await second.stdout.receive_some()
        assert told.count(b"\n") == 1
        assert b"/three\n" in told
        second.send_signal(signal.SIGTERM)
        code, out, _ = await finish(second)
        assert (code, out) == (exits.SIGNALLED + signal.SIGTERM, "")
    names = sorted(path.name for path in (home / "store").iterdir())
    assert names == [".uploadd", "one", "three", "two"]


async def test_a_host_that_is_not_there_is_said_at_once(home: Path) -> None:
    """It is not going to be there in five seconds either."""
    (home / "file").write_bytes(b"data")
    with trio.fail_after(60):
        code, out, err = await finish(await start("put", "file", "http://no-such-host.invalid"))
    assert (code, out) == (exits.UNREACHABLE, "")
    assert err.startswith("file: there is no host no-such-host.invalid: ")
    assert "trying again" not in err


async def test_a_pipe_survives_the_daemon(home: Path, film: Path) -> None:
    """What is not durable is kept in memory, as nobody can send it through the pipe again."""
    async with running(home) as (daemon, proxy):
        proxy.hold_at = HELD
        with film.open("rb") as file:
            cat = subprocess.Popen(["cat"], stdin=file, stdout=subprocess.PIPE)
        assert cat.stdout is not None
        put = await start("put", "-", "--name", "film", proxy.url, stdin=cat.stdout.fileno())
        cat.stdout.close()
        await proxy.reached(up=HELD, offset=HELD // 2)
        await daemon.end(signal.SIGKILL)
        proxy.target = await daemon.start()
        proxy.go_on()
        code, _, err = await finish(put)
        assert code == exits.OK, err
        assert cat.wait() == 0
    assert same(only(home / "store"), film)


async def test_a_download_survives_the_daemon_and_itself(home: Path, film: Path) -> None:
    """Both are killed, one after the other; every byte comes about once."""
    async with running(home) as (daemon, proxy):
        code, out, err = await finish(await start("put", "-q", str(film), proxy.url))
        assert (code, err) == (exits.OK, "")
        url = out.strip()

        proxy.go_on()
        proxy.hold_at = HELD
        get = await start("get", url)
        await proxy.reached(down=HELD)
        await daemon.end(signal.SIGKILL)
        proxy.target = await daemon.start()
        proxy.go_on()
        proxy.hold_at = SIZE // 4
        await proxy.reached(down=SIZE // 4)
        get.kill()
        await finish(get)
        assert not (home / "film.mp4").exists()
        kept = (home / "film.mp4.part").stat().st_size
        assert kept > HELD

        proxy.go_on()
        code, out, err = await finish(await start("get", url))
        assert (code, out) == (exits.OK, "film.mp4\n"), err
        assert proxy.down <= SIZE - kept + OVERHEAD
    assert same(home / "film.mp4", film)
    assert not (home / "film.mp4.part").exists()
