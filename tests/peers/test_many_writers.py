"""Many who want the same upload at a time, in one dialect and in several."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http.client import HTTPConnection, HTTPResponse
from itertools import pairwise
from threading import Barrier, Event
from typing import Final

import pytest
import trio

from tests.browser.conftest import Server
from tests.peers.conftest import MakeFile, published
from tests.peers.proxy import Proxy
from uploadd.client import open_client

WRITERS: Final = 20
ROUNDS: Final = 20
LENGTH: Final = 200_000
TUS: Final = {"Tus-Resumable": "1.0.0"}
CHUNK: Final = TUS | {"Content-Type": "application/offset+octet-stream"}

RATE: Final = 10_000_000
SECONDS: Final = 5
LOOKS: Final = 50
"""In a second."""


def ask(
    daemon: Server,
    method: str,
    path: str,
    fields: dict[str, str],
    body: bytes | Iterator[bytes] | None = None,
) -> HTTPResponse:
    """One request over a connection of its own; the answer, whose body was read."""
    connection = HTTPConnection(*daemon.address, timeout=60)
    try:
        connection.request(method, path, body, fields)
        answer = connection.getresponse()
        answer.read()
        return answer
    finally:
        connection.close()


def create(daemon: Server, length: int) -> str:
    """The path of a new upload."""
    answer = ask(daemon, "POST", "/files/", TUS | {"Upload-Length": str(length)})
    assert answer.status == 201
    return answer.headers["Location"]


def offset(daemon: Server, path: str) -> int:
    """What HEAD tells."""
    answer = ask(daemon, "HEAD", path, TUS)
    assert answer.status == 200
    return int(answer.headers["Upload-Offset"])


@pytest.mark.parametrize("length", [LENGTH, 2 * LENGTH], ids=["the whole", "half of it"])
def test_of_many_that_append_at_one_offset_one_does(length: int, daemon: Server) -> None:
    """All others are told so, and no byte of theirs is among those of the one."""
    bodies = [bytes([number]) * LENGTH for number in range(1, WRITERS + 1)]
    with ThreadPoolExecutor(WRITERS) as pool:
        for _ in range(ROUNDS):
            path, start = create(daemon, length), Barrier(WRITERS)

            def append(body: bytes, path: str = path, start: Barrier = start) -> int:
                start.wait()
                return ask(daemon, "PATCH", path, CHUNK | {"Upload-Offset": "0"}, body).status

            told = list(pool.map(append, bodies))
            assert Counter(told)[204] == 1, told
            assert set(told) <= {204, 409, 423}
            won = bodies[told.index(204)]
            if length > LENGTH:
                assert offset(daemon, path) == LENGTH
                rest = ask(daemon, "PATCH", path, CHUNK | {"Upload-Offset": str(LENGTH)}, won)
                assert rest.status == 204
            files = list(daemon.dir.glob("*"))
            [file] = [file for file in files if file.is_file()]
            assert file.read_bytes() == won * (length // LENGTH)
            file.unlink()


@pytest.mark.long
def test_who_looks_all_the_time_is_told_what_is_durable(daemon: Server) -> None:
    """While it moves.  What that costs and how long it takes is printed, and not judged."""
    path, length, done = create(daemon, RATE * SECONDS), RATE * SECONDS, Event()
    sent = 0

    def paced() -> Iterator[bytes]:
        nonlocal sent
        began = time.monotonic()
        for count in range(1, SECONDS * 100 + 1):
            sent += RATE // 100
            yield bytes(RATE // 100)
            time.sleep(max(0.0, began + count / 100 - time.monotonic()))

    def look() -> list[tuple[float, int]]:
        looks = []
        while not done.is_set():
            began = time.monotonic()
            told = offset(daemon, path)
            looks.append((time.monotonic() - began, told))
            assert told <= sent
            done.wait(max(0.0, began + 1 / LOOKS - time.monotonic()))
        return looks

    fields = CHUNK | {"Upload-Offset": "0", "Content-Length": str(length)}
    with ThreadPoolExecutor(1) as pool:
        looking = pool.submit(look)
        began = time.monotonic()
        status = ask(daemon, "PATCH", path, fields, paced()).status
        took = time.monotonic() - began
        done.set()
        looks = looking.result()
    assert status == 204
    assert all(before <= after for (_, before), (_, after) in pairwise(looks))
    waits = sorted(wait for wait, _ in looks)
    print(
        f"{length} bytes in {took:.2f} s (paced: {SECONDS} s); {len(looks)} HEADs, median"
        f" {waits[len(waits) // 2] * 1e3:.1f} ms, slowest {waits[-1] * 1e3:.1f} ms;"
        f" {len({told for _, told in looks})} different offsets"
    )


async def test_begun_over_websocket_continued_by_tus_finished_by_the_draft(
    daemon: Server, proxy: Proxy, make_file: MakeFile
) -> None:
    file = make_file(9_000_000)
    data = file.read_bytes()
    ids: list[str] = []
    await trio.to_thread.run_sync(proxy.hold, 3_000_000)
    async with open_client(proxy.url) as client, trio.open_nursery() as nursery:
        upload = partial(client.upload, file, name="file.bin", begun=ids.append)
        nursery.start_soon(upload)
        await trio.to_thread.run_sync(proxy.until_held)
        assert await trio.to_thread.run_sync(has_at_least, daemon, 1_000_000)
        nursery.cancel_scope.cancel()
    await trio.to_thread.run_sync(proxy.go_on)
    await trio.to_thread.run_sync(finish, daemon, f"/files/{ids[0]}", data)
    assert published(daemon) == {"file.bin": data}


def has_at_least(daemon: Server, count: int) -> bool:
    """Whether the only unfinished upload comes to have *count* bytes in its file."""
    growing = daemon.folder / ".uploadd" / "growing"
    return daemon.settles(lambda: [p.stat().st_size >= count for p in growing.iterdir()] == [True])


def finish(daemon: Server, path: str, data: bytes) -> None:
    """Append to what is there: some in tus, the rest in the draft."""
    at = offset(daemon, path)
    assert 1_000_000 <= at <= 3_000_000
    middle = at + 3_000_000
    answer = ask(daemon, "PATCH", path, CHUNK | {"Upload-Offset": str(at)}, data[at:middle])
    assert (answer.status, answer.headers["Upload-Offset"]) == (204, str(middle))
    fields = {
        "Upload-Draft-Interop-Version": "8",
        "Upload-Offset": str(middle),
        "Upload-Complete": "?1",
        "Content-Type": "application/partial-upload",
    }
    answer = ask(daemon, "PATCH", path, fields, data[middle:])
    assert answer.status in (200, 201, 204)
    assert answer.headers["Upload-Complete"] == "?1"
