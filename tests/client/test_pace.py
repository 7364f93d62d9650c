"""The size of chunks and the time between attempts."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from uploadd.client.pace import (
    BASE_SECONDS,
    CAP_SECONDS,
    FIRST,
    GRAIN,
    SECONDS,
    Backoff,
    Pace,
)

MIB = 1 << 20


@given(st.floats(GRAIN / SECONDS, 3 * MIB), st.integers(1, 3))
def test_a_chunk_takes_a_quarter_of_a_second(rate: float, factor: int) -> None:
    """Of any rate that is steady, in grains, after a few chunks; also when the rate changes."""
    pace = Pace()
    for steady in (rate, rate * factor, rate):
        for _ in range(40):
            size = pace.size(MIB)
            pace.sent(size, size / steady)
        assert pace.size(MIB) % GRAIN == 0
        wanted = min(MIB, steady * SECONDS)
        assert wanted - 2 * GRAIN < pace.size(MIB) <= wanted + GRAIN


def test_a_fast_connection_has_the_largest_chunk_soon() -> None:
    """Doubled each time, from the first."""
    pace = Pace()
    sizes = []
    for _ in range(6):
        sizes.append(pace.size(MIB))
        pace.sent(sizes[-1], 0.0)
    assert sizes == [FIRST, 2 * FIRST, 4 * FIRST, 8 * FIRST, MIB, MIB]


@given(
    st.lists(st.tuples(st.integers(0, MIB), st.floats(0, 100)), max_size=50), st.integers(1, MIB)
)
def test_a_chunk_is_never_larger_than_the_server_takes(
    sends: list[tuple[int, float]], max_chunk: int
) -> None:
    """Also when that is less than the smallest that we would choose, and never nothing."""
    pace = Pace()
    for count, seconds in sends:
        pace.sent(count, seconds)
        assert min(GRAIN, max_chunk) <= pace.size(max_chunk) <= max_chunk


def test_waiting_grows_from_a_fifth_of_a_second_to_ten() -> None:
    """Doubled each time, and all of it left to chance."""
    backoff = Backoff(1e9, chance=lambda: 1.0)
    waits = [backoff.next(0.0) for _ in range(8)]
    assert waits == [0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10.0, 10.0]
    rng = random.Random(1)
    spread = [Backoff(1e9, chance=rng.random).next(0.0) for _ in range(1000)]
    assert 0.0 <= min(x for x in spread if x is not None) < BASE_SECONDS / 20
    assert BASE_SECONDS * 0.95 < max(x for x in spread if x is not None) <= BASE_SECONDS


def test_waiting_starts_over_when_bytes_moved() -> None:
    """The network is well again."""
    backoff = Backoff(1e9, chance=lambda: 1.0)
    assert backoff.fresh
    for _ in range(5):
        backoff.next(0.0)
    assert not backoff.fresh
    backoff.moved()
    assert backoff.fresh
    assert backoff.next(1.0) == BASE_SECONDS


@given(st.floats(0, 1000), st.lists(st.floats(0, 100), min_size=1))
def test_patience_is_counted_from_the_first_failure(patience: float, steps: list[float]) -> None:
    """Since bytes last moved, however many attempts were made; a long rest before costs none."""
    backoff = Backoff(patience)
    since: float | None = None
    now = 1e6
    for step in steps:
        now += step
        since = now if since is None else since
        delay = backoff.next(now)
        assert (delay is None) == (now - since >= patience)
        assert delay is None or 0.0 <= delay <= CAP_SECONDS
        if delay is None or step > 50:
            backoff.moved()
            since = None
