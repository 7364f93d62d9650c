"""Whether a body comes fast enough, by a clock that runs only while it is waited for."""

from __future__ import annotations

import pytest
from trio.testing import MockClock

from uploadd.claim import QUIET, Claim
from uploadd.errors import TooSlow
from uploadd.protocol.upload import Run, Upload
from uploadd.serve.pace import PACE_SECONDS, Pace


async def test_while_nothing_is_read_nobody_is_slow(mock_clock: MockClock) -> None:
    """Neither is the body, nor its holder silent; afterwards both can be."""
    claim = Claim(Upload("u"), lambda error: None, lambda: None, lambda fault: None, Run(0, 0))
    pace = Pace(1024, claim)
    with pace.held_back():
        mock_clock.jump(2 * PACE_SECONDS)
        assert not claim.quiet
    assert not claim.quiet
    pace.came(1)
    mock_clock.jump(max(QUIET, PACE_SECONDS))
    assert claim.quiet
    with pytest.raises(TooSlow):
        pace.came(1)
