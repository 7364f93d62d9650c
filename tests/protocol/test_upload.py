"""The upload as data: its table, and a machine against a bytearray.

What is accepted moves both, what is refused moves neither.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from uploadd import errors
from uploadd.errors import UploadError
from uploadd.protocol.extents import NOTHING, Extents
from uploadd.protocol.upload import (
    GONE,
    MIB,
    TRANSITIONS,
    Input,
    Run,
    State,
    Upload,
    accept,
)

T = TypeVar("T")
MOST = 60
TRUTH = bytes(range(1, MOST + 1)) * 3
"""The bytes of the upload, none of them a NUL; the peer always sends the right ones."""

# --- the table ------------------------------------------------------------------------------


def test_the_table_names_every_state_and_leads_only_to_states() -> None:
    """And every input is good for something."""
    assert set(TRANSITIONS) == set(State)
    assert {after for row in TRANSITIONS.values() for after in row.values()} <= set(State)
    assert {what for row in TRANSITIONS.values() for what in row} == set(Input)


def test_from_what_is_gone_nothing_leads_back() -> None:
    """And every state can be reached."""
    assert {state for state, row in TRANSITIONS.items() if not row} == set(GONE)
    reached = {State.RECEIVING}
    for _ in State:
        reached |= {to for state in reached for to in TRANSITIONS[state].values()}
    assert reached == set(State)


def test_only_a_receiving_upload_takes_bytes_and_claims() -> None:
    """Once it is declared complete, its bytes are what they are."""
    for what in (Input.CLAIM, Input.APPEND, Input.DECLARE, Input.CANCEL, Input.COMPLETE):
        assert [s for s, row in TRANSITIONS.items() if what in row] == [State.RECEIVING]


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("what", Input)
def test_an_input_leads_where_the_table_says_or_is_refused(state: State, what: Input) -> None:
    """What is gone says so and why; anything else is a conflict with the offset in it."""
    upload = Upload("id", state=state, held=Extents([(0, 3)]))
    if (after := TRANSITIONS[state].get(what)) is not None:
        upload.move(what)
        assert upload.state is after
        return
    with pytest.raises(errors.Gone if state in GONE else errors.Conflict) as told:
        upload.move(what)
    assert upload.state is state
    if isinstance(told.value, errors.Gone):
        assert told.value.reason == GONE[state]
    else:
        assert told.value.offset == 3


# --- the machine ----------------------------------------------------------------------------


class Machine(RuleBasedStateMachine):
    """One upload with its newest run, one that was taken over, and the bytes on the medium."""

    @initialize(
        length=st.none() | st.integers(0, MOST),
        held=st.just([]) | st.lists(st.integers(0, MOST), max_size=6),
    )
    def begin(self, length: int | None, held: list[int]) -> None:
        """Some places may be held already, as when several ranges are on their way."""
        pairs = list(zip(sorted(held)[::2], sorted(held)[1::2], strict=False))
        limit = MOST if length is None else length
        self.upload = Upload("id", length=length)
        self.upload.hold(Extents((a, min(b, limit)) for a, b in pairs if a < limit))
        self.linear = not self.upload.held
        self.medium = bytearray(MOST)
        for start, end in self.upload.held:
            self.medium[start:end] = TRUTH[start:end]
        self.told = 0
        self.error: UploadError | None = None
        self.stale = Run(0, -1)
        self.run = self.stale
        self.claim()

    def snapshot(self) -> tuple[object, ...]:
        """All that an input may move."""
        u, r, s = self.upload, self.run, self.stale
        return (
            *(u.state, u.length, u.held, u.fence, bytes(self.medium)),
            *(r.received, r.written, r.limit, s.received, s.written, s.limit),
        )

    def attempt(self, call: Callable[[], T]) -> T | None:
        """What *call* gives; None when it was refused: then nothing has moved."""
        before, self.error = self.snapshot(), None
        try:
            return call()
        except UploadError as error:
            self.error = error
        assert self.snapshot() == before
        if isinstance(self.error, errors.Conflict):
            assert self.error.offset == self.upload.offset
        return None

    def refused(self) -> bool:
        """Whether the last attempt was; the table has the first word."""
        if self.error is not None and self.upload.state in GONE:
            assert isinstance(self.error, errors.Gone)
        return self.error is not None

    @precondition(lambda self: self.run.received > self.run.start)
    @rule()
    def take_over(self) -> None:
        """Once it was worth it."""
        self.claim()

    def claim(self) -> None:
        """The newest claim takes over and goes on at the durable offset."""
        self.attempt(lambda: self.upload.move(Input.CLAIM))
        assert self.refused() == (self.upload.state is not State.RECEIVING)
        if self.refused():
            return
        self.upload.fence += 1
        self.stale, self.run = self.run, Run(self.upload.offset, self.upload.fence)

    @rule(
        back=st.sampled_from([0, 0, 0, 0, 0, -2, -1, 1, 2]),
        count=st.integers(0, 20),
        stale=st.sampled_from([False, False, False, False, True]),
    )
    def append(self, back: int, count: int, stale: bool) -> None:
        """In place or out of place, by the newest claim or an older one, within or beyond."""
        run = self.stale if stale else self.run
        at = max(0, run.received + back)
        count = min(count, MOST - at) if self.upload.length is None else count
        reason = self.why_not(run, at, count)
        pieces = self.attempt(lambda: accept(self.upload, run, at, count))
        assert reason is (type(self.error) if self.error else None)
        if pieces is None:
            return
        assert run.received == at + count
        assert not any(self.upload.held.missing(s, e) != [(s, e)] for s, e in pieces)
        for start, end in pieces:
            self.medium[start:end] = TRUTH[start:end]
        assert self.medium[at : at + count] == TRUTH[at : at + count]

    def why_not(self, run: Run, at: int, count: int) -> type[UploadError] | None:
        """The rules once more, in the order in which they are told."""
        if self.upload.state in GONE:
            return errors.Gone
        if self.upload.state is not State.RECEIVING:
            return errors.Conflict
        if run.fence != self.upload.fence:
            return errors.TakenOver
        if at != run.received:
            return errors.OffsetMismatch
        if self.upload.length is not None and at + count > self.upload.length:
            return errors.LengthExceeded
        return None

    @rule(part=st.integers(0, 20))
    def write(self, part: int) -> None:
        """Some of what was received reaches the page cache."""
        self.run.written = min(self.run.received, self.run.written + part)

    @rule()
    def flush(self) -> None:
        """What is written becomes durable; the only thing that moves the offset."""
        if self.upload.state is State.RECEIVING:
            self.upload.hold(NOTHING.add(self.run.start, self.run.written))

    @rule(near=st.integers(-5, 10))
    def declare(self, near: int) -> None:
        """Once, and never less than what is here."""
        length = max(0, self.run.received + near)
        open_before = self.upload.state is State.RECEIVING
        fits = self.upload.length in (None, length)
        fits &= length >= max(self.upload.held.end, self.run.received)
        self.attempt(lambda: self.upload.declare(length, self.run.received))
        assert self.refused() == (not (open_before and fits))
        if open_before and not fits:
            assert isinstance(self.error, errors.LengthConflict)
        if not self.refused():
            assert self.upload.length == length

    @rule()
    def complete(self) -> None:
        """When every byte is durable and the length is known, and not before."""
        length, open_before = self.upload.length, self.upload.state is State.RECEIVING
        whole = length is not None and self.upload.held == NOTHING.add(0, length)
        self.attempt(self.upload.complete)
        assert self.refused() == (not (open_before and whole))
        if open_before and not whole:
            assert isinstance(self.error, errors.Incomplete)
        if not self.refused():
            assert self.medium[:length] == TRUTH[:length]

    @precondition(lambda self: self.upload.state is State.FINALIZING)
    @rule(what=st.sampled_from([Input.REOPEN, Input.PUBLISH, Input.LOSE]))
    def end(self, what: Input) -> None:
        """Publishing works, or it does not."""
        self.upload.move(what)

    @rule(what=st.sampled_from([Input.CANCEL, Input.EXPIRE, Input.DELETE, Input.LOSE]))
    @precondition(lambda self: self.upload.fence > 3)
    def give_up(self, what: Input) -> None:
        """However it goes, it goes as the table says."""
        expected = TRANSITIONS[self.upload.state].get(what)
        self.attempt(lambda: self.upload.move(what))
        assert self.refused() == (expected is None)
        assert expected in (None, self.upload.state)

    @rule(chunk=st.sampled_from([1, 16 << 10, 50 * MIB]))
    def grant(self, chunk: int) -> None:
        """Credit grows or stays; whoever has all durable gets one chunk more."""
        offset, before = self.run.offset(self.upload), self.run.limit
        limit = self.run.grant(offset, chunk)
        assert limit == self.run.limit >= before
        if offset >= self.run.received:
            assert limit >= self.run.received + chunk

    @invariant()
    def numbers(self) -> None:
        """offset <= written <= received; the offset told never decreases."""
        run, upload = self.run, self.upload
        assert run.start <= run.written <= run.received
        if self.linear:  # else it may run on over what was held already
            assert run.offset(upload) <= run.written
        assert upload.offset >= self.told
        self.told = upload.offset


Machine.TestCase.settings = settings(max_examples=200, stateful_step_count=40)
TestMachine = Machine.TestCase


def test_bytes_that_are_durable_and_not_remembered_count_for_being_whole() -> None:
    """Completing and remembering them is one transaction."""
    upload = Upload("id", length=10, held=NOTHING.add(0, 4))
    with pytest.raises(errors.Incomplete) as told:
        upload.complete(NOTHING.add(5, 10))
    assert told.value.offset == 4
    upload.complete(NOTHING.add(4, 10))
    assert upload.state is State.FINALIZING
    assert upload.offset == 4, "nothing is told before the ledger has it"


def test_a_length_below_what_was_received_is_refused() -> None:
    """Bytes beyond it are here already, durable or not."""
    upload = Upload("id", held=NOTHING.add(0, 4))
    for length, received in ((3, 0), (5, 6)):
        with pytest.raises(errors.LengthConflict):
            upload.declare(length, received)
    assert upload.length is None
    upload.declare(6, 6)
