"""What every test file shares."""

from __future__ import annotations

from hypothesis import settings

# No deadline for one example: a busy machine is not a failure, and a hang is found by the
# timeouts of the tests themselves.
settings.register_profile("uploadd", deadline=None)
settings.load_profile("uploadd")
