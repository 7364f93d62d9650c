"""How far one page is behind another, from what both have noted."""

from __future__ import annotations

import pytest

from bench.two_browsers import Note, gaps, lags

TRUTH = [Note(1.0, 0, False), Note(1.1, 50, False), Note(1.2, 70, False), Note(1.3, 100, True)]


def test_what_is_shown_at_once_is_not_behind() -> None:
    assert lags(TRUTH, TRUTH) == [0, 0, 0]


def test_a_step_that_is_left_out_is_made_good_by_the_next() -> None:
    """Each move of the truth is behind until that much, or more, is shown."""
    shown = [Note(1.15, 50, False), Note(1.15, 50, False), Note(1.5, 100, True)]
    assert lags(TRUTH, shown) == pytest.approx([0.05, 0.3, 0.2])


def test_what_is_never_shown_is_no_figure() -> None:
    with pytest.raises(IndexError):
        lags(TRUTH, [Note(1.15, 50, False)])


def test_a_gap_lies_between_two_moves() -> None:
    """What is told again without having moved is none."""
    assert gaps([*TRUTH, Note(1.4, 100, True), Note(1.6, 120, True)]) == pytest.approx(
        [0.1, 0.1, 0.3]
    )
