"""What one ref is told, and when."""

from __future__ import annotations

from typing import Any, cast

from hypothesis import given
from hypothesis import strategies as st

from uploadd.protocol.upload import Run, Upload
from uploadd.serve.lastword import Telling
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
def test_a_client_knows_of_room_for_a_chunk_if_there_is_any(
    max_chunk: int, steps: list[tuple[str, int]]
) -> None:
    """And of every byte that is durable, at once: it never waits for what it was not told."""
    one = Sending(max_chunk)
    for verb, count in steps:
        getattr(one, verb)(count)
        one.stands()
        assert one.heard.offset == one.durable
        assert one.heard.limit == one.run.limit or one.heard.limit - one.run.received >= max_chunk


def test_what_only_moves_in_memory_is_told_once_a_quarter_of_the_credit() -> None:
    """Not with every chunk: what the client waits for comes when it is durable."""
    one = Sending(64 * 1024)
    for _ in range(1024):
        one.comes(64 * 1024)
        one.is_written(64 * 1024)
    assert one.run.received == 32 * MIB, "credit ends here: nothing is durable"
    assert one.heard.limit == one.run.limit == 32 * MIB
    assert one.heard.acks <= 16


def test_once_nothing_more_comes_all_is_told() -> None:
    """The client shows what is left to do: taken, and not durable."""
    one = Sending(MIB)
    one.comes(10)
    one.is_written(10)
    assert one.heard.acks == 0
    one.stands(ended=True)
    assert one.heard.acks == 1
