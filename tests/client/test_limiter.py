"""``--limit-rate``: bytes per second of a clock that jumps, over the real conversation."""

from __future__ import annotations

from itertools import pairwise

import pytest
import trio
from trio.testing import MockClock

from tests.client.server import Pieces, Server, client_of
from uploadd.client.limiter import Limiter

RATE = 800.0


class Sent:
    """What left, and when."""

    def __init__(self) -> None:
        self.marks: list[tuple[float, int]] = []

    def take(self, server: Server) -> None:
        """Note how much the server has, each time it changes."""
        self.marks.append((trio.current_time(), server.sent()))

    def check(self, rate: float, chunk: int) -> None:
        """No span of time has more than its share, and one chunk."""
        for index, (begin, before) in enumerate(self.marks):
            for end, after in self.marks[index:]:
                assert after - before <= rate * (end - begin) + chunk, (begin, end)


async def test_no_second_has_more_bytes_than_the_limit(autojump_clock: MockClock) -> None:
    """In small steps, so that it looks smooth; and not less either."""
    server, sent = Server(max_chunk=1000, initial=1000, window=10_000), Sent()
    begin = trio.current_time()
    async with client_of(server, rate=RATE) as client:
        await client.upload(
            Pieces(bytes(8000), 1000), length=8000, progress=lambda _: sent.take(server)
        )
    assert server.content() == bytes(8000)
    assert {end - at for _, _, at, end in server.chunks} == {100}  # an eighth of a second
    assert trio.current_time() - begin == pytest.approx(8000 / RATE, abs=0.2)
    sent.check(RATE, 100)


async def test_all_uploads_share_one_limit(autojump_clock: MockClock) -> None:
    """Three at once are together as fast as one, and none of them starves."""
    server, sent = Server(max_chunk=1000, initial=1000, window=10_000), Sent()
    ends: list[float] = []
    async with client_of(server, rate=RATE) as client, trio.open_nursery() as nursery:

        async def upload() -> None:
            await client.upload(
                Pieces(bytes(4000), 1000), length=4000, progress=lambda _: sent.take(server)
            )
            ends.append(trio.current_time())

        for _ in range(3):
            nursery.start_soon(upload)
    assert ends == pytest.approx([12_000 / RATE] * 3, abs=1.0)
    sent.check(RATE, 300)  # of each of them a chunk may be under way


async def test_the_slowest_limit_keeps_the_session(autojump_clock: MockClock) -> None:
    """Longer than silence is borne: pings and acks do not wait for bytes."""
    server = Server(max_chunk=100, window=10_000)
    async with client_of(server, rate=2.0) as client:
        await client.upload(Pieces(bytes(600), 100), length=600)
    assert (server.content(), server.connects) == (bytes(600), 1)
    assert trio.current_time() == pytest.approx(300.0, abs=2.0)


async def test_without_a_limit_nothing_waits(autojump_clock: MockClock) -> None:
    """Not even for a moment."""
    server = Server()
    async with client_of(server) as client:
        await client.upload(Pieces(bytes(8000)), length=8000)
    assert trio.current_time() == 0.0


async def test_a_pause_is_not_saved_up(autojump_clock: MockClock) -> None:
    """After an hour without a file the next is as slow as the first."""
    limiter = Limiter(RATE)
    await limiter.take(100)
    await trio.sleep(3600)
    times = []
    for _ in range(5):
        await limiter.take(100)
        times.append(trio.current_time())
    assert [after - before for before, after in pairwise(times)] == pytest.approx([0.125] * 4)


async def test_who_gives_up_takes_nothing_with_him(autojump_clock: MockClock) -> None:
    """The bytes of a cancelled upload do not slow the others down."""
    limiter = Limiter(RATE)
    await limiter.take(100)
    with trio.move_on_after(0.01):
        await limiter.take(100_000)
    await limiter.take(100)
    assert trio.current_time() == pytest.approx(0.125)
