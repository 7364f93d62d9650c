"""Paces: as much as the rate allows, fairly, and no turn is lost when somebody goes."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from tests.serve.desk import virtual
from uploadd.errors import TooMany, TooOften
from uploadd.measures import Each, Measures
from uploadd.pacing import Bucket, Flow, Pacer

RATE = 1000_000


async def stream(flow: Flow, step: int, taken: list[int]) -> None:
    """Take as fast as the pace allows, in pieces."""
    while True:
        taken[0] += step
        await flow.pay(step)


@virtual
async def test_all_together_keep_to_the_rate() -> None:
    """But for a burst, and for the pieces that are on their way."""
    pacer, taken = Pacer(RATE), [[0] for _ in range(5)]
    with trio.move_on_after(20):
        async with trio.open_nursery() as nursery:
            for one in taken:
                nursery.start_soon(stream, Flow([pacer]), 50_000, one)
    total = sum(one[0] for one in taken)
    assert 20 * RATE * 0.95 <= total <= 20 * RATE + RATE * 0.1 + 6 * 50_000


@virtual
async def test_each_has_the_same_whatever_its_pieces_are() -> None:
    """And who comes later has as much from then on, not more."""
    pacer, large, small, late = Pacer(RATE), [0], [0], [0]
    with trio.move_on_after(40):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stream, Flow([pacer]), 200_000, large)
            nursery.start_soon(stream, Flow([pacer]), 10_000, small)
            await trio.sleep(20)
            before = large[0], small[0]
            nursery.start_soon(stream, Flow([pacer]), 50_000, late)
    assert abs(before[0] - before[1]) <= 2 * 200_000
    assert abs(large[0] - before[0] - late[0]) <= 3 * 200_000
    assert abs(small[0] - before[1] - late[0]) <= 3 * 200_000


@virtual
async def test_who_goes_gives_its_turn_to_the_next() -> None:
    """Whether it was the first in line or not."""
    pacer = Pacer(RATE)
    first, second = Flow([pacer]), Flow([pacer])
    await first.pay(5 * RATE)
    async with trio.open_nursery() as nursery:
        with trio.move_on_after(1):
            nursery.start_soon(second.pay, 1)
            await first.pay(1)
        assert trio.current_time() == pytest.approx(1, abs=0.01)
    assert 4.5 <= trio.current_time() <= 5
    assert not pacer._queue


@virtual
async def test_a_flow_keeps_to_the_slowest_of_its_paces() -> None:
    """And takes steps that fit it."""
    fast, slow = Pacer(100 * RATE), Pacer(RATE)
    flow = Flow([fast, slow])
    assert flow.step == slow.step < fast.step
    taken = [0]
    with trio.move_on_after(10):
        await stream(flow, 20_000, taken)
    assert taken[0] <= 10 * RATE + RATE * 0.1 + 40_000
    assert Flow([]).bounded is False


@virtual
async def test_a_bucket_fills_with_time() -> None:
    """As many at once as in a second."""
    bucket = Bucket(3)
    assert [bucket.take() for _ in range(4)] == [True, True, True, False]
    await trio.sleep(0.34)
    assert [bucket.take() for _ in range(2)] == [True, False]


@virtual
async def test_places_are_counted_by_owner_and_by_address() -> None:
    """Who has no token is counted by address alone; a place that was left is free."""
    measures = Measures(Each(uploads=2, sessions=1, requests=1))
    with measures.upload("ana", "1.1.1.1"), measures.upload("ana", "2.2.2.2"):
        with pytest.raises(TooMany, match="2 uploads of this owner"), measures.upload("ana", "3"):
            pass
        places = measures.upload("@a", "1.1.1.1"), measures.upload("@b", "1.1.1.1")
        with places[0], pytest.raises(TooMany, match="this address"), places[1]:
            pass
    with measures.upload("ana", "1.1.1.1") as flow:
        assert not flow.bounded
    with measures.session("oana"), pytest.raises(TooMany), measures.session("oana"):
        pass
    measures.request("1.1.1.1")
    measures.request("2.2.2.2")
    with pytest.raises(TooOften, match="more than 1 requests a second"):
        measures.request("1.1.1.1")


def test_nobody_is_measured_where_nothing_is_bounded() -> None:
    """Then there is nothing to look at."""
    assert not Each().any
    assert Each(rate=1).any


def test_of_too_many_the_idle_are_forgotten() -> None:
    """An address that owes nothing is as good as a new one; but not while it sends."""

    async def main() -> None:
        measures = Measures(Each(rate=RATE, requests=5))
        with measures.upload("", "busy") as flow:
            await flow.pay(2 * RATE)
            await trio.sleep(60)  # it owes nothing any more
            for number in range(10_010):
                with measures.upload("", f"a{number}"):
                    measures.request(f"a{number}")
            assert len(measures._buckets) <= 10_000
            assert len(measures._pacers) <= 10_000
            with measures.upload("", "busy") as other:
                assert other._pacers == flow._pacers, "they share one pace"

    trio.run(main, clock=MockClock(autojump_threshold=0))
