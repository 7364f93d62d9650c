"""How far a run may go: bounded by memory and by durability, and never stuck."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from uploadd import errors
from uploadd.protocol.upload import (
    AHEAD_OF_DURABLE,
    AHEAD_OF_WRITTEN,
    MIB,
    Run,
    Upload,
    accept,
)

MOST = 60


@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from(["send", "write", "flush"]),
            st.integers(0, 40),
            st.integers(1, 64 * 1024),
        ),
        max_size=60,
    )
)
def test_a_peer_that_keeps_to_its_credit_is_never_stuck_and_never_far_ahead(
    steps: list[tuple[str, int, int]],
) -> None:
    """At most 32 MiB beyond the durable offset and 16 beyond what is written, plus a chunk."""
    run, offset, limit = Run(0, 1), 0, 0
    for verb, units, chunk_kib in steps:
        chunk, amount = chunk_kib << 10, units * MIB
        match verb:
            case "send":
                run.received = min(run.limit, run.received + amount)
            case "write":
                run.written = min(run.received, run.written + amount)
            case "flush":
                offset = run.written
        before, limit = limit, run.grant(offset, chunk)
        assert limit >= before
        ahead = min(offset + AHEAD_OF_DURABLE, run.written + AHEAD_OF_WRITTEN)
        assert limit <= max(before, ahead, run.received + chunk if offset >= run.received else 0)
        run.written = offset = run.received  # when all is done there is always more
        limit = run.grant(offset, chunk)
        assert limit >= run.received + chunk


def test_the_bounds_are_reached_and_not_passed() -> None:
    """The credit of a peer whose bytes are written and not durable, and of one whose are not."""
    run = Run(100, 1)
    assert run.grant(100, MIB) == 100 + AHEAD_OF_WRITTEN
    run.received = run.limit
    assert run.grant(100, MIB) == 100 + AHEAD_OF_WRITTEN
    run.written = run.received
    assert run.grant(100, MIB) == 100 + AHEAD_OF_DURABLE
    run.received = run.written = run.limit
    assert run.grant(100, MIB) == 100 + AHEAD_OF_DURABLE
    assert run.grant(run.received, MIB) == run.received + AHEAD_OF_WRITTEN
    assert Run(0, 1).grant(0, 20 * MIB) == 20 * MIB, "one chunk always fits"


@given(st.integers(0, MOST), st.integers(0, MOST))
def test_a_run_that_ends_before_the_upload_is_bounded_by_its_end(end: int, count: int) -> None:
    """A claim of a range accepts nothing beyond it."""
    upload = Upload("id", length=MOST, fence=1)
    run = Run(0, 1, end=end)
    if count <= end:
        assert accept(upload, run, 0, count) == ([(0, count)] if count else [])
    else:
        with pytest.raises(errors.LengthExceeded):
            accept(upload, run, 0, count)


@given(st.integers(0, MOST), st.integers(1, MOST))
def test_of_unknown_length_what_is_too_large_is_told_as_such(most: int, more: int) -> None:
    """No length was declared that could be exceeded; nothing is taken."""
    upload, run = Upload("id", fence=1), Run(0, 1, end=most)
    with pytest.raises(errors.TooLarge, match=r"^the file is at least .*, the limit here is "):
        accept(upload, run, 0, most + more)
    assert run.received == 0
    assert accept(upload, run, 0, most) == ([(0, most)] if most else [])
