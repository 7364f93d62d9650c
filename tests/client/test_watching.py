"""``--watch``: real files, looked at when the test says so, by a clock that it sets."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.client.server import Conversation, Server, client_of
from uploadd import errors as e
from uploadd.client import exits
from uploadd.client.errors import ServerUnavailable
from uploadd.client.memory import Memory, Signature, Watched, forget_watched
from uploadd.client.messages import Messages
from uploadd.client.order import Order
from uploadd.client.output import Outcome
from uploadd.client.screen import Screen
from uploadd.client.watching import AGAIN_SECONDS, Watcher
from uploadd.protocol.wschunks import Chunk

SETTLE = 5.0


class Told:
    """An Output that can be waited for."""

    def __init__(self) -> None:
        self.outcomes: list[Outcome] = []
        self._more = trio.Event()

    def tell(self, outcome: Outcome) -> None:
        """See Output."""
        self.outcomes.append(outcome)
        self._more.set()

    def close(self, summary: object) -> None:
        """See Output."""

    async def stored(self, *paths: str) -> None:
        """Wait until that many files were told of; these and no other."""
        with trio.fail_after(20):
            while len(self.outcomes) < len(paths):
                self._more = trio.Event()
                await self._more.wait()
        assert sorted(outcome.item.path for outcome in self.outcomes) == sorted(paths)
        self.outcomes.clear()


class Watch:
    """A watcher that looks when it is told to."""

    def __init__(self, server: Server, *, exclude: tuple[str, ...] = ()) -> None:
        self.server, self.time, self.told = server, 1000.0, Told()
        self.code: int | None = None
        self._order = Order(
            files=[], url="http://host.test/", watch="in", settle=SETTLE, exclude=exclude
        )
        self._go, self._looked = trio.open_memory_channel[None](0)
        self._idle = trio.Event()
        self.watcher: Watcher

    async def _pause(self, seconds: float) -> None:
        self._idle.set()
        await self._looked.receive()

    async def look(self, seconds: float = 0.0) -> None:
        """Let *seconds* pass, and look once."""
        with trio.fail_after(20):
            await self._idle.wait()
            self._idle = trio.Event()
            self.time += seconds
            await self._go.send(None)
            await self._idle.wait()

    async def settle(self) -> None:
        """See what there is, wait, and look again."""
        await self.look()
        await self.look(SETTLE)

    async def _run(self) -> None:
        home, folder = Path("state").absolute(), os.path.abspath("in")
        screen = Screen(bars=False, quiet=False)
        with Memory(home, folder, self._order.url) as memory:
            self.watcher = Watcher(
                self._order, screen, self.told, memory, self._pause, lambda: self.time
            )
            async with client_of(self.server, patience=0.0, tell=self.watcher.notice) as client:
                self.code = await self.watcher.run(client)


@asynccontextmanager
async def watching(server: Server, **options: Any) -> AsyncIterator[Watch]:
    """A watcher that has looked once."""
    watch = Watch(server, **options)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch._run)
        await watch._idle.wait()
        yield watch
        nursery.cancel_scope.cancel()


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to watch, and a home for what is remembered."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "xdg"))
    (tmp_path / "in").mkdir()
    return tmp_path


def write(path: str, data: bytes, when: int | None = None) -> None:
    """A file here, changed at *when*."""
    Path(path).parent.mkdir(exist_ok=True)
    Path(path).write_bytes(data)
    if when is not None:
        os.utime(path, (when, when))


def contents(server: Server) -> list[bytes]:
    """What the server has, in the order in which it came."""
    return [bytes(held.data) for held in server.published()]


async def test_a_file_is_stored_once_it_stays_as_it_is() -> None:
    """Not while it grows; also in folders that appear later; and each once."""
    server = Server()
    async with watching(server) as watch:
        write("in/file", b"o", 1)
        await watch.look()
        await watch.look(SETTLE - 0.1)
        write("in/file", b"one", 2)
        await watch.look(SETTLE - 0.1)  # changed: it settles anew
        await watch.look(SETTLE - 0.1)
        assert contents(server) == []
        await watch.look(0.2)
        await watch.told.stored("in/file")
        write("in/sub/other", b"two")
        await watch.settle()
        await watch.told.stored("in/sub/other")
        await watch.settle()
    assert contents(server) == [b"one", b"two"]
    paths = [begin.metadata for _, begin in server.begins]
    assert paths == [{"relativePath": "in/file"}, {"relativePath": "in/sub/other"}]


async def test_a_file_that_changes_is_stored_again() -> None:
    """With its new content."""
    server = Server()
    async with watching(server) as watch:
        for data, when in ((b"one", 1), (b"two", 2)):
            write("in/file", data, when)
            await watch.settle()
            await watch.told.stored("in/file")
    assert contents(server) == [b"one", b"two"]


async def test_a_file_that_changes_while_it_is_sent_is_sent_again(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """When it is quiet again: no one state of it had arrived."""
    server = Server()
    changed = trio.Event()

    def change(session: Conversation, chunk: Chunk) -> bool:
        write("in/file", b"new" * 100, 2)
        changed.set()
        return True

    server.script[2] = change
    async with watching(server) as watch:
        write("in/file", bytes(900), 1)
        await watch.settle()
        await changed.wait()
        while "again when it settles" not in capsys.readouterr().err:
            await trio.lowlevel.checkpoint()
        await watch.settle()
        await watch.told.stored("in/file")
    assert contents(server) == [b"new" * 100]


async def test_a_new_watcher_sends_nothing_again() -> None:
    """But what changed meanwhile, and what the old one had not stored."""
    server = Server()
    async with watching(server) as watch:
        write("in/a", b"a", 1)
        write("in/b", b"b", 1)
        await watch.settle()
        await watch.told.stored("in/a", "in/b")
    write("in/b", b"B", 2)
    write("in/\udcff", b"c", 1)
    async with watching(server) as watch:
        await watch.look(SETTLE)
        await watch.told.stored("in/b", "in/\udcff")
        await watch.settle()
    assert sorted(contents(server)) == [b"B", b"a", b"b", b"c"]


async def test_a_folder_that_is_away_for_a_while_is_not_sent_again() -> None:
    """It was not mounted; what was stored from it is still remembered."""
    server = Server()
    async with watching(server) as watch:
        write("in/a", b"a", 1)
        await watch.settle()
        await watch.told.stored("in/a")
        os.rename("in", "elsewhere")
        await watch.settle()
        os.rename("elsewhere", "in")
        write("in/b", b"b", 1)
        await watch.settle()
        await watch.told.stored("in/b")
    assert contents(server) == [b"a", b"b"]


async def test_a_server_that_is_away_is_waited_for(capsys: pytest.CaptureFixture[str]) -> None:
    """For as long as it takes; said once, not at every attempt."""

    class Leaving(Server):
        away = True
        attempts = 0  # to connect

        async def connect(self, nursery: trio.Nursery) -> Messages:
            self.attempts += 1
            if self.away:
                raise ServerUnavailable("cannot reach host.test: connection refused")
            return await super().connect(nursery)

    server = Leaving()
    async with watching(server) as watch:
        write("in/file", b"data", 1)
        await watch.look()
        for attempts in range(1, 5):
            await watch.look(AGAIN_SECONDS)
            with trio.fail_after(20):
                while server.attempts < attempts or watch.watcher._busy:
                    await trio.lowlevel.checkpoint()
        assert watch.code is None
        server.away = False
        await watch.look(AGAIN_SECONDS)
        await watch.told.stored("in/file")
    assert contents(server) == [b"data"]
    assert capsys.readouterr().err.count("connection refused") == 1


async def test_a_refused_file_is_not_sent_again_until_it_changes(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """And its neighbours are stored."""
    server = Server()
    server.refusals = [e.TooLarge("4 bytes, the limit is 3")]
    async with watching(server) as watch:
        write("in/a", b"data", 1)
        await watch.settle()
        await watch.told.stored("in/a")  # told, with its error
        await watch.settle()
        write("in/b", b"b", 1)
        await watch.settle()
        await watch.told.stored("in/b")
        write("in/a", b"abc", 2)
        await watch.settle()
        await watch.told.stored("in/a")
    assert contents(server) == [b"b", b"abc"]
    assert capsys.readouterr().err.count("the limit is 3") == 1


async def test_a_token_that_is_refused_ends_it() -> None:
    """Nothing would ever be stored."""
    server = Server()
    server.refuse_session = e.Unauthorised("a token is needed")
    watch = Watch(server)
    async with trio.open_nursery() as nursery:
        write("in/a", b"a", 1)

        async def looks() -> None:
            await watch.settle()

        nursery.start_soon(looks)
        await watch._run()
        nursery.cancel_scope.cancel()
    assert watch.code == exits.NOT_AUTHORISED


async def test_what_is_excluded_is_not_watched() -> None:
    """Half-written files of others have names that say so."""
    server = Server()
    async with watching(server, exclude=("*.part",)) as watch:
        write("in/a.part", b"a", 1)
        write("in/b", b"b", 1)
        await watch.settle()
        await watch.told.stored("in/b")
    assert contents(server) == [b"b"]


# --- what is remembered ------------------------------------------------------------------------


def test_half_a_line_costs_one_file_and_no_more(tmp_path: Path) -> None:
    """After a crash, or on a full disk."""
    one, two = Signature(1, 2), Signature(3, 4)
    with Memory(tmp_path, "/in", "http://h/") as memory:
        memory.add("a", one)
        memory.add("b", one)
    [path] = tmp_path.glob("*.watch")
    path.write_bytes(path.read_bytes()[:-4])
    with Memory(tmp_path, "/in", "http://h/") as memory:
        assert (memory.knows("a", one), memory.knows("b", one)) == (True, False)
        memory.add("b", two)
    with Memory(tmp_path, "/in", "http://h/") as memory:
        assert (memory.knows("a", one), memory.knows("b", two)) == (True, True)
        assert not memory.knows("b", one)


def test_two_watchers_of_the_same_are_one_too_many(tmp_path: Path) -> None:
    """They would store everything twice; other folders and servers are their own."""
    with Memory(tmp_path, "/in", "http://h/"):
        with pytest.raises(Watched), Memory(tmp_path, "/in", "http://h/"):
            pass
        with Memory(tmp_path, "/in", "http://other/"), Memory(tmp_path, "/other", "http://h/"):
            pass
    with Memory(tmp_path, "/in", "http://h/"):
        pass


def test_what_is_forgotten_is_sent_again(tmp_path: Path) -> None:
    """Of one folder, or of all."""
    forget: Callable[..., int] = forget_watched
    for folder in ("/a", "/b", "/c"):
        with Memory(tmp_path, folder, "http://h/") as memory:
            memory.add("x", Signature(1, 2))
    assert forget(tmp_path, "/a", None) == 1
    assert forget(tmp_path, "/b", "http://other/") == 0
    with Memory(tmp_path, "/a", "http://h/") as memory:
        assert not memory.knows("x", Signature(1, 2))
    assert forget(tmp_path, None, None) == 3
    assert forget(tmp_path / "nowhere", None, None) == 0
