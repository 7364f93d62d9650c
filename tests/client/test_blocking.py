"""The client without trio: the real daemon as a process, and callers in threads."""

from __future__ import annotations

import asyncio
import io
import os
import random
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.e2e.daemon import Daemon
from uploadd.client import (
    ClientClosed,
    LocalReadError,
    Progress,
    Rejected,
    ServerUnavailable,
    UploadFailed,
    connect,
    session,
    upload,
)
from uploadd.client.handover import own

MIB = 1 << 20
DATA = random.Random(1).randbytes(5 * MIB)
WAIT = 30.0  # seconds; for what is going to happen


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A daemon for all tests that do not hurt it."""
    with Daemon(tmp_path_factory.mktemp("store")) as daemon:
        daemon.start()
        yield daemon


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    yield
    assert not [one for one in threading.enumerate() if one.name == "uploadd client"]


def pieces(data: bytes, size: int = 300_000) -> Iterator[bytes]:
    """*data*, one piece after the other."""
    for at in range(0, len(data), size):
        yield data[at : at + size]


class Endless:
    """Data, and then nothing more until it is let go; tells when that is reached."""

    def __init__(self, data: bytes) -> None:
        self._pieces = pieces(data)
        self.reached = threading.Event()
        self.let_go = threading.Event()

    def __iter__(self) -> Iterator[bytes]:
        yield from self._pieces
        self.reached.set()
        self.let_go.wait(WAIT)


def test_one_call_stores_a_file_under_its_name(running: Daemon, tmp_path: Path) -> None:
    """The bytes are the same, and the URL says where they are."""
    path = tmp_path / "film.mp4"
    path.write_bytes(DATA)
    stored = upload(path, running.url)
    assert (running.folder / "film.mp4").read_bytes() == DATA
    assert stored.url == f"{running.url}/f/{stored.id}/film.mp4"
    assert stored.length == len(DATA)


def from_pipe(data: bytes) -> Any:
    """A file object that cannot seek."""
    reader, writer = os.pipe()

    def write() -> None:
        with open(writer, "wb") as file:
            file.write(data)

    threading.Thread(target=write).start()
    return open(reader, "rb")


@pytest.mark.parametrize(
    "make",
    [
        bytes,
        bytearray,
        memoryview,
        io.BytesIO,
        pieces,
        from_pipe,
        lambda data: [data, b"", data[:0]],
    ],
    ids=["bytes", "bytearray", "memoryview", "file", "generator", "pipe", "list"],
)
def test_everything_that_has_bytes_can_be_sent(
    running: Daemon, make: Callable[[bytes], Any], request: pytest.FixtureRequest
) -> None:
    """Also what knows its length only at the end."""
    name = request.node.callspec.id
    source = make(DATA)
    with connect(running.url) as client:
        client.upload(source, name=name)
    assert (running.folder / name).read_bytes() == DATA
    if name == "pipe":
        source.close()


@pytest.mark.parametrize(
    ("source", "told"),
    [(io.StringIO("x"), "'rb'"), (["text"], "not str"), (4.5, "float"), ([[1, 2]], "not list")],
)
def test_what_has_no_bytes_is_refused_in_words(running: Daemon, source: Any, told: str) -> None:
    """And the client goes on."""
    with connect(running.url) as client:
        with pytest.raises(TypeError, match=told):
            client.upload(source)
        assert client.upload(b"x", name="after").length == 1


def test_progress_is_told_in_the_thread_that_waits(running: Daemon) -> None:
    """It never goes back, and its last word is that all is stored."""
    seen: list[tuple[int, Progress]] = []
    begun: list[int] = []
    with connect(running.url) as client:
        client.upload(
            pieces(DATA),
            length=len(DATA),
            progress=lambda newest: seen.append((threading.get_ident(), newest)),
            begun=lambda id: begun.append(threading.get_ident()),
        )
    assert {thread for thread, _ in seen} | set(begun) == {threading.get_ident()}
    assert len(begun) == 1
    assert [newest.stored for _, newest in seen] == sorted(newest.stored for _, newest in seen)
    assert seen[-1][1] == (len(DATA), len(DATA), len(DATA))


def test_what_a_callback_raises_ends_its_upload_alone(running: Daemon) -> None:
    """It comes out of the call, and nobody else notices."""

    def refuse(newest: Progress) -> None:
        raise LookupError("enough")

    with connect(running.url) as client, ThreadPoolExecutor(1) as pool:
        source = Endless(DATA)
        other = pool.submit(client.upload, source, name="other")
        with pytest.raises(LookupError, match="enough"):
            client.upload(DATA, name="refused", progress=refuse)
        source.let_go.set()
        assert other.result(WAIT).length == len(DATA)
    assert not (running.folder / "refused").exists()


place: ContextVar[str] = ContextVar("place")


def test_an_iterable_is_read_in_another_thread_with_the_context_of_the_caller(
    running: Daemon,
) -> None:
    """Neither on the loop nor, since that one waits, in the thread of the caller."""
    threads: set[str] = set()

    def read() -> Iterator[bytes]:
        for _ in range(3):
            threads.add(threading.current_thread().name)
            yield place.get().encode()

    place.set("here")
    with connect(running.url) as client:
        client.upload(read(), name="context")
    assert (running.folder / "context").read_bytes() == b"here" * 3
    assert not threads & {"uploadd client", threading.current_thread().name}


def test_what_an_iterable_raises_comes_out_of_the_call(running: Daemon) -> None:
    """As it is, with the place where it was raised."""

    def broken() -> Iterator[bytes]:
        yield DATA
        raise ZeroDivisionError("in the middle")

    with connect(running.url) as client, pytest.raises(ZeroDivisionError) as caught:
        client.upload(broken())
    assert caught.traceback[-1].name == "broken"


def test_threads_share_one_client(running: Daemon) -> None:
    """Forty at once: every file is whole, and there is one thread behind them."""
    files = {f"shared-{n}": DATA[n : n + 1000 * n * n] for n in range(40)}
    with connect(running.url) as client, ThreadPoolExecutor(40) as pool:
        results = list(pool.map(lambda item: client.upload(item[1], name=item[0]), files.items()))
        names = [thread.name for thread in threading.enumerate()]
    assert names.count("uploadd client") == 1
    assert len({stored.id for stored in results}) == 40
    for name, data in files.items():
        assert (running.folder / name).read_bytes() == data


def test_slow_iterables_take_no_thread_from_others(running: Daemon) -> None:
    """Fifty that say nothing, which is more than trio has threads by default."""
    slow = [Endless(b"x") for _ in range(50)]
    with connect(running.url) as client, ThreadPoolExecutor(50) as pool:
        waiting = [pool.submit(client.upload, source, name="slow") for source in slow]
        for source in slow:
            assert source.reached.wait(WAIT)
        assert client.upload(io.BytesIO(DATA), name="quick").length == len(DATA)
        for source in slow:
            source.let_go.set()
        assert [one.result(WAIT).length for one in waiting] == [1] * 50


def test_a_server_that_goes_away_is_said_to_every_caller(tmp_path: Path) -> None:
    """With an exception of its own, of which the traceback is that of the call."""
    sources = [Endless(DATA) for _ in range(3)]
    notices: list[str] = []
    with (
        Daemon(tmp_path) as daemon,
        connect(daemon.start(), patience=0.5, tell=notices.append) as client,
        ThreadPoolExecutor(3) as pool,
    ):
        waiting = [pool.submit(client.upload, source) for source in sources]
        for source in sources:
            assert source.reached.wait(WAIT)
        daemon.kill()
        errors = [one.exception(WAIT) for one in waiting]
        for source in sources:
            source.let_go.set()
    assert {type(error) for error in errors} == {ServerUnavailable}
    assert len({id(error) for error in errors}) == 3
    for error in errors:
        assert error is not None
        inner = [frame.filename for frame in traceback.extract_tb(error.__traceback__)]
        assert "trio" not in " ".join(inner)
    assert "trying again" in notices[0]


def test_a_server_that_never_was_is_said_in_words() -> None:
    """And what to do."""
    with pytest.raises(ServerUnavailable, match="connection refused") as caught:
        upload(b"x", "http://127.0.0.1:1", patience=0.1)
    assert caught.value.hint is not None
    assert caught.value.retryable


@pytest.mark.parametrize("url", ["nothing", "ftp://host", "http://"])
def test_what_is_no_url_is_said_before_there_is_a_thread(url: str) -> None:
    """As by the other client."""
    with pytest.raises(ValueError, match="URL"):
        connect(url)


def test_a_file_that_is_not_there_is_the_same_error_as_everywhere(running: Daemon) -> None:
    """One of the classes of UploadFailed."""
    with connect(running.url) as client, pytest.raises(LocalReadError, match="no such file"):
        client.upload("/nothing/here")


def test_leaving_the_block_ends_what_other_threads_upload(running: Daemon) -> None:
    """They hear why, at once, though their iterable hangs; what was durable is kept."""
    source = Endless(DATA)
    begun: list[str] = []
    with ThreadPoolExecutor(1) as pool:
        with connect(running.url) as client:
            waiting = pool.submit(client.upload, source, name="left", begun=begun.append)
            assert source.reached.wait(WAIT)
        with pytest.raises(ClientClosed):
            waiting.result(WAIT)
        source.let_go.set()
        with connect(running.url) as client:
            client.upload(DATA, resume=begun[0])
    assert (running.folder / "left").read_bytes() == DATA


def test_a_closed_client_says_so(running: Daemon) -> None:
    """However often it is closed; its class is one of those that are caught anyway."""
    client = connect(running.url)
    client.close()
    client.close()
    with pytest.raises(UploadFailed, match="it is closed") as caught:
        client.upload(b"x")
    assert caught.value.code == "closed"


def test_a_callback_may_close_the_client(running: Daemon) -> None:
    """It waits for nothing that waits for it."""
    with connect(running.url) as client, pytest.raises(ClientClosed):
        client.upload(Endless(DATA), progress=lambda newest: client.close())


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_when_the_thread_dies_everybody_hears_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault of ours is told as what it is, then and later; nobody waits for ever."""

    async def fail(*args: object, **options: object) -> None:
        raise ZeroDivisionError("a fault")

    monkeypatch.setattr(session, "open_messages", fail)
    with connect("http://127.0.0.1:1") as client, ThreadPoolExecutor(5) as pool:
        waiting = [pool.submit(client.upload, b"x") for _ in range(5)]
        errors = [one.exception(WAIT) for one in waiting]
        with pytest.raises(ClientClosed, match="died"):
            client.upload(b"x")
    for error in errors:
        assert isinstance(error, ClientClosed)
        assert isinstance(error.__cause__, ExceptionGroup)
        assert error.__cause__.subgroup(ZeroDivisionError)


def test_it_works_in_the_thread_pool_of_asyncio(running: Daemon) -> None:
    """Two at once, beside a loop that goes on."""

    async def main() -> list[int]:
        with connect(running.url) as client:
            both = [asyncio.to_thread(client.upload, pieces(DATA)) for _ in range(2)]
            return [stored.length for stored in await asyncio.gather(*both)]

    assert asyncio.run(main()) == [len(DATA)] * 2


def test_inside_trio_the_other_client_is_named(running: Daemon) -> None:
    """Only where it would stop the loop: its worker threads are threads like others."""

    async def main() -> int:
        for call in (lambda: connect(running.url), lambda: upload(b"x", running.url)):
            with pytest.raises(RuntimeError, match="open_client"):
                call()
        return (await trio.to_thread.run_sync(upload, b"x", running.url)).length

    assert trio.run(main) == 1


def test_an_error_keeps_all_that_it_says() -> None:
    """Whoever else got the same one."""
    cause = OSError("why")
    error = Rejected("too-large", "it is", "smaller", retryable=True)
    error.__cause__ = cause
    mine = own(error)
    assert isinstance(mine, Rejected)
    assert mine is not error
    assert (mine.code, mine.message, mine.hint, mine.retryable) == (
        "too-large",
        "it is",
        "smaller",
        True,
    )
    assert (str(mine), mine.__cause__) == ("it is", cause)


CTRL_C = """
import os, signal, sys, threading
from uploadd.client import connect
data = os.urandom(3 << 20)
hang = threading.Event()
ids = []
def pieces():
    yield data
    hang.wait()
def show(progress):
    if progress.stored == len(data):
        {interrupt}
with connect(sys.argv[1]) as client:
    try:
        client.upload(pieces(), name="{name}", progress=show, begun=ids.append)
    except KeyboardInterrupt:
        print("interrupted", flush=True)
    sent = []
    stored = client.upload(iter([data, b"end"]), resume=ids[0], progress=sent.append)
print(stored.length - len(data), sent[0].stored >= len(data))
print([thread.name for thread in threading.enumerate() if thread.name == "uploadd client"])
hang.set()
"""


@pytest.mark.parametrize(
    ("name", "interrupt"),
    [
        ("inside", "signal.raise_signal(signal.SIGINT)"),
        ("outside", "threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()"),
    ],
)
def test_ctrl_c_ends_the_upload_and_keeps_what_is_durable(
    running: Daemon, name: str, interrupt: str
) -> None:
    """In a callback, and in the waiting itself; the client goes on, and the thread ends."""
    script = CTRL_C.format(name=name, interrupt=interrupt)
    done = subprocess.run(
        [sys.executable, "-c", script, running.url],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout == "interrupted\n3 True\n[]\n", done.stderr
    assert done.returncode == 0
    assert (running.folder / name).stat().st_size == 3 * MIB + 3


FORK = """
import os, sys
from uploadd.client import connect
with connect(sys.argv[1]) as client:
    client.upload(b"parent")
    pid = os.fork()
    if pid == 0:
        try:
            client.upload(b"child")
        except RuntimeError as error:
            print(error, flush=True)
        client.close()
        os._exit(0)
    os.waitpid(pid, 0)
"""


def test_a_fork_is_told_to_connect_anew(running: Daemon) -> None:
    """It has no thread that could answer, so it would wait for ever."""
    done = subprocess.run(
        [sys.executable, "-c", FORK, running.url],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout == "a client does not survive a fork: connect in the new process\n"
    assert done.returncode == 0, done.stderr
