"""The memory budget: bounded, fair, and never the reason that everything stands still."""

from __future__ import annotations

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import wait_all_tasks_blocked

from uploadd.budget import MIN_CHUNK, RUN, Budget, Share

TOTAL = 1000


def crowd(budget: Budget, *, held: int = 0, moving: int = 0) -> Share:
    """One more session, with something in memory."""
    share = budget.share()
    share.hold(held)
    share.take(moving)
    return share


# --- how large a chunk may be ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("total", "most", "sessions", "expected"),
    [
        (256 << 20, 1 << 20, 0, 1 << 20),
        (256 << 20, 1 << 20, 1, 1 << 20),
        (256 << 20, 1 << 20, 64, 1 << 20),
        (256 << 20, 1 << 20, 128, 512 << 10),
        (256 << 20, 1 << 20, 4096, MIN_CHUNK),
        (256 << 20, 1 << 20, 4097, MIN_CHUNK),
        (256 << 20, 1 << 20, 100_000, MIN_CHUNK),
        (256 << 20, 1 << 14, 1, 1 << 14),
        (256 << 20, 1 << 14, 100_000, 1 << 14),
    ],
)
def test_every_session_can_hold_four_chunks(
    total: int, most: int, sessions: int, expected: int
) -> None:
    """Between 16 KiB and what the configuration allows."""
    budget = Budget(total, most)
    for _ in range(sessions):
        budget.share()
    assert budget.max_chunk == expected


def test_a_session_that_ends_leaves_larger_chunks_to_the_others() -> None:
    """And closing twice counts once."""
    budget = Budget(256 * MIN_CHUNK)
    shares = [budget.share() for _ in range(64)]
    assert shares[0].max_chunk == MIN_CHUNK
    for share in shares[1:]:
        share.close()
        share.close()
    assert shares[0].max_chunk == 64 * MIN_CHUNK


# --- who may read ---------------------------------------------------------------------------------


def test_while_there_is_room_everybody_may_read() -> None:
    """However unfair it is: one below the total is still room."""
    budget = Budget(TOTAL)
    glutton, other = crowd(budget, moving=TOTAL - 1), budget.share()
    assert glutton.may_read
    assert other.may_read


def test_when_the_budget_is_full_only_those_below_their_share_may_read() -> None:
    """Two sessions: 500 bytes each; what the library holds counts as what moves does."""
    budget = Budget(TOTAL)
    glutton, other = crowd(budget, moving=600), crowd(budget, held=400)
    assert not glutton.may_read
    assert other.may_read
    other.hold(500)
    assert not other.may_read


def test_when_nothing_moves_a_full_budget_stops_nobody() -> None:
    """Else nothing would ever become less: messages that are not whole cannot be written."""
    budget = Budget(TOTAL)
    share = crowd(budget, held=5 * TOTAL)
    assert share.may_read
    mover = crowd(budget, moving=1)
    assert not share.may_read
    mover.give_back(1)
    assert share.may_read


async def waiting(budget: Budget, nursery: trio.Nursery, count: int) -> list[int]:
    """*count* sessions above their share that wait for room; fills up with those that got it."""
    went: list[int] = []

    async def reader(number: int, share: Share) -> None:
        await share.room()
        went.append(number)

    for number, share in enumerate([crowd(budget, held=TOTAL) for _ in range(count)]):
        nursery.start_soon(reader, number, share)
    await wait_all_tasks_blocked()
    return went


async def test_room_for_one_is_told_to_everybody_who_waits(nursery: trio.Nursery) -> None:
    """Three wait; when nothing moves any more, three go on."""
    budget = Budget(TOTAL)
    mover = crowd(budget, moving=2)
    went = await waiting(budget, nursery, 3)
    mover.give_back(1)
    await wait_all_tasks_blocked()
    assert went == []
    mover.give_back(1)
    await wait_all_tasks_blocked()
    assert sorted(went) == [0, 1, 2]


class Steps(trio.abc.Instrument):
    """Counts the turns of tasks."""

    count = 0

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        """One more."""
        self.count += 1


async def test_who_waits_longest_goes_first_and_the_others_are_left_asleep(
    nursery: trio.Nursery,
) -> None:
    """A thousand that look in vain whenever there is room for one would keep the loop busy."""
    total = 1_000_000
    budget, went = Budget(total), list[int]()
    mover = crowd(budget, moving=total)

    async def reader(number: int, share: Share) -> None:
        await share.room()
        went.append(number)
        share.take(100)  # and there is none again

    for number, share in enumerate([crowd(budget, moving=2000) for _ in range(1000)]):
        nursery.start_soon(reader, number, share)
        await wait_all_tasks_blocked()
    mover.take(2_000_000)
    mover.give_back(budget.used - total)
    await wait_all_tasks_blocked()
    assert went == []
    steps = Steps()
    trio.lowlevel.add_instrument(steps)
    for _ in range(10):
        mover.give_back(100)
        await wait_all_tasks_blocked()
    trio.lowlevel.remove_instrument(steps)
    assert went == list(range(10))
    assert steps.count < 100


async def test_a_session_that_ends_makes_room(nursery: trio.Nursery) -> None:
    """What the library held for it is gone, and the shares of the others have grown."""
    budget = Budget(TOTAL)
    ended, mover = budget.share(), crowd(budget, moving=TOTAL)
    went = trio.Event()

    async def reader(share: Share) -> None:
        await share.room()
        went.set()

    nursery.start_soon(reader, crowd(budget, held=400))  # above a third, below a half
    await wait_all_tasks_blocked()
    assert not went.is_set()
    ended.close()
    await wait_all_tasks_blocked()
    assert went.is_set()
    mover.close()
    assert (budget.used, budget.moving) == (TOTAL + 400, TOTAL)


@pytest.mark.parametrize("what", ["give back", "hold"])
async def test_who_has_become_less_than_its_share_need_not_wait_for_the_others(
    nursery: trio.Nursery, what: str
) -> None:
    """The budget is as full as before: what others have is theirs to write."""
    budget = Budget(TOTAL)
    crowd(budget, moving=2 * TOTAL)
    mine = crowd(budget, held=300, moving=300)
    went = trio.Event()

    async def reader() -> None:
        await mine.room()
        went.set()

    nursery.start_soon(reader)
    await wait_all_tasks_blocked()
    assert not went.is_set()
    if what == "hold":
        mine.hold(100)
    else:
        mine.give_back(200)
    await wait_all_tasks_blocked()
    assert went.is_set()


@pytest.mark.parametrize("before", [True, False])
async def test_a_look_is_not_lost_with_whoever_was_to_have_it(
    nursery: trio.Nursery, before: bool
) -> None:
    """It is cancelled before there is room, or in the same turn: the next one goes."""
    budget, went = Budget(TOTAL), list[int]()
    mover = crowd(budget, moving=1)
    first, second = crowd(budget, held=TOTAL), crowd(budget, held=TOTAL)
    scope = trio.CancelScope()

    async def reader(number: int, share: Share) -> None:
        await share.room()
        went.append(number)

    async def cancelled() -> None:
        with scope:
            await reader(1, first)

    nursery.start_soon(cancelled)
    await wait_all_tasks_blocked()
    nursery.start_soon(reader, 2, second)
    await wait_all_tasks_blocked()
    scope.cancel()
    if before:
        await wait_all_tasks_blocked()
    mover.give_back(1)
    await wait_all_tasks_blocked()
    assert went == [2]


async def test_what_still_moves_when_a_session_ends_is_given_back_later() -> None:
    """By its writer; and a library that dies late holds nothing any more."""
    budget = Budget(TOTAL)
    share = crowd(budget, held=10, moving=20)
    share.close()
    share.hold(99)
    assert (budget.used, budget.moving) == (20, 20)
    share.give_back(20)
    assert (budget.used, budget.moving) == (0, 0)


async def test_a_wait_for_room_can_be_cancelled() -> None:
    """And leaves nothing behind."""
    budget = Budget(TOTAL)
    mover = crowd(budget, moving=TOTAL)
    with trio.move_on_after(0) as scope:
        await mover.room()
    assert scope.cancelled_caught
    mover.give_back(TOTAL)
    await mover.room()


# --- who may begin --------------------------------------------------------------------------------


def begun(share: Share) -> int:
    """How many uploads *share* may begin now; it begins them."""
    count = 0
    while share.may_begin:
        share.begin()
        count += 1
    return count


def test_one_session_may_begin_as_many_as_fill_half_of_the_memory() -> None:
    """They cost something though no byte comes; and what has ended makes room for another."""
    share = Budget(200 * RUN).share()
    assert begun(share) == 100
    share.end()
    assert begun(share) == 1


def test_who_comes_late_has_a_fair_part_of_as_many_again() -> None:
    """One at least; however many come, and whoever has begun many has to wait."""
    budget = Budget(200 * RUN)
    glutton = budget.share()
    assert begun(glutton) == 100
    others = [budget.share() for _ in range(3)]
    assert [begun(share) for share in others] == [25, 25, 25]
    assert not glutton.may_begin
    crowd = [budget.share() for _ in range(1000)]
    assert {begun(share) for share in crowd} == {1}
    assert budget.runs == 100 + 75 + 1000
    for _ in range(80):
        glutton.end()
    assert not glutton.may_begin  # there are others now


# --- whatever happens -----------------------------------------------------------------------------

steps = st.lists(
    st.tuples(
        st.integers(0, 3),
        st.sampled_from(["read", "hold", "take", "give back", "close", "cancel"]),
        st.booleans(),
        st.integers(0, 2 * TOTAL),
    ),
    max_size=40,
)


@given(steps)
async def test_it_never_deadlocks(steps: list[tuple[int, str, bool, int]]) -> None:
    """In any order of things, some of them in one turn: whoever may read does, and somebody may, or
    something moves.
    """
    budget = Budget(TOTAL)
    shares = [budget.share() for _ in range(4)]
    open_, waits = set(range(4)), set[int]()
    scopes = [trio.CancelScope() for _ in shares]

    async def reader(number: int) -> None:
        scopes[number] = trio.CancelScope()
        with scopes[number]:
            await shares[number].room()
        waits.discard(number)

    async with trio.open_nursery() as nursery:
        for who, what, together, count in steps:
            share = shares[who]
            if what == "read" and who in open_ - waits:
                waits.add(who)
                nursery.start_soon(reader, who)
            elif what == "cancel":
                scopes[who].cancel()
            elif what == "hold":
                share.hold(count)
            elif what == "take" and who in open_:
                share.take(count)
            elif what == "give back":
                share.give_back(min(count, share.moving))
            elif what == "close":
                share.close()
                open_.discard(who)
            if together:
                continue
            await wait_all_tasks_blocked()
            assert budget.used == sum(share.held + share.moving for share in shares)
            assert budget.moving == sum(share.moving for share in shares)
            assert not [number for number in waits if shares[number].may_read]
            assert budget.moving or all(share.may_read for share in shares)
        for share in shares:
            share.give_back(share.moving)
        await wait_all_tasks_blocked()
        assert not waits
        for share in shares:
            share.close()
        assert (budget.used, budget.moving) == (0, 0)


async def test_a_share_that_takes_no_part_takes_nothing_from_the_others() -> None:
    """Until it joins, once; closing it gives back what it had."""
    budget = Budget(64 << 20)
    first = budget.share()
    before = first.max_chunk
    others = [budget.share(joined=False) for _ in range(64)]
    assert first.max_chunk == before
    for share in others:
        share.join()
        share.join()
    joined = first.max_chunk
    assert joined < before
    for share in others:
        share.close()
        share.close()
    assert first.max_chunk == before
