"""What one ref is told, and when."""

from __future__ import annotations

from typing import Any, cast

import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from uploadd.protocol.upload import Run, Upload
from uploadd.serve.lastword import SILENT, UNTOLD, Telling
from uploadd.serve.voice import Voice

MIB = 1 << 20


class Heard:
    """A session that keeps what is said in it; its machine, too."""

    def __init__(self, max_chunk: int) -> None:
        self.machine = self
        self.max_chunk = max_chunk
        self.offset = self.limit = self.acks = 0

    def ready(self, ref: int, upload: str, url: str, offset: int, limit: int) -> None:
        """The first word."""
        self.offset, self.limit = offset, limit

    def ack(self, ref: int, received: int, offset: int, limit: int) -> None:
        """Another."""
        assert offset <= received
        self.offset, self.limit = offset, limit
        self.acks += 1

    def wake_sender(self) -> None:
        """Nobody sends."""


class Sending:
    """An upload, what its client was told, and what the client does with that."""

    def __init__(self, max_chunk: int) -> None:
        self.heard = Heard(max_chunk)
        self.upload, self.run = Upload("u"), Run(0, 0)
        self.telling = Telling(cast("Voice", self.heard), 1)
        self.durable = 0
        self.stands()

    def stands(self, **how: Any) -> None:
        """Something has moved."""
        limit = self.run.grant(self.durable, self.heard.max_chunk)
        self.telling.stands(
            self.upload, self.run.received, self.durable, limit, **{"ended": False, **how}
        )

    def comes(self, count: int) -> None:
        """As much as its credit allows."""
        self.run.received = min(self.run.received + count, self.heard.limit)

    def is_written(self, count: int) -> None:
        """Into the page cache."""
        self.run.written = min(self.run.written + count, self.run.received)
        self.stands()

    def is_durable(self, count: int) -> None:
        """On the disk."""
        self.durable = min(self.durable + count, self.run.written)
        self.stands()


@given(
    st.integers(1, 4 * MIB),
    st.lists(st.tuples(st.sampled_from(["comes", "is_written", "is_durable"]), st.integers(1))),
)
async def test_a_client_knows_of_room_for_a_chunk_if_there_is_any(
    max_chunk: int, steps: list[tuple[str, int]]
) -> None:
    """And of every byte that is durable, at once: it never waits for what it was not told."""
    one = Sending(max_chunk)
    for verb, count in steps:
        getattr(one, verb)(count)
        one.stands()
        assert one.heard.offset == one.durable
        assert one.heard.limit == one.run.limit or one.heard.limit - one.run.received >= max_chunk


async def test_what_only_moves_in_memory_is_told_now_and_then() -> None:
    """Not with every chunk, but so that a client sees how fast it is."""
    one, chunk = Sending(64 * 1024), 16 * 1024
    for at in range(1, 1025):
        one.comes(chunk)
        one.is_written(chunk)
        assert one.heard.acks == at * chunk // UNTOLD


async def test_all_credit_is_told_before_it_is_used_up() -> None:
    """Also where nothing becomes durable and little comes at a time."""
    one = Sending(64 * 1024)
    for _ in range(40_000):
        one.comes(1000)
        one.is_written(1000)
    assert one.run.received == one.heard.limit == one.run.limit == 32 * MIB


async def test_more_credit_is_told_where_no_chunk_would_fit() -> None:
    """However little it is: the client may be waiting for just that."""
    one = Sending(16 * MIB)
    one.comes(1)
    one.is_written(1)
    assert one.heard.acks == 1


async def test_more_credit_is_told_where_little_is_left() -> None:
    """A client far away would wait for its way here and back."""
    one = Sending(1000)
    one.comes(16 * MIB - 4000)
    one.stands()
    before = one.heard.acks
    one.is_written(1000)
    assert one.heard.acks == before
    one.is_written(1000)
    assert (one.heard.acks, one.heard.limit) == (before + 1, one.run.limit)


async def test_nobody_who_sends_is_left_without_a_word(mock_clock: trio.testing.MockClock) -> None:
    """It would take us for dead, where bytes become durable seldom."""
    one = Sending(1000)
    for _ in range(10):
        one.comes(10)
        one.is_written(10)
    assert one.heard.acks == 0
    mock_clock.jump(SILENT)
    one.comes(10)
    one.is_written(10)
    assert one.heard.acks == 1


async def test_once_nothing_more_comes_all_is_told() -> None:
    """The client shows what is left to do: taken, and not durable."""
    one = Sending(MIB)
    one.comes(10)
    one.is_written(10)
    assert one.heard.acks == 0
    one.stands(ended=True)
    assert one.heard.acks == 1
