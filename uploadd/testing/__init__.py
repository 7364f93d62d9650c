"""For those who write a store or a flow of their own: the checks that ours pass.

`check_store` is what every store must pass; `cancel_at_every_step` runs a flow again and again
and cancels it one step later each time.  Both raise AssertionError and need no test runner.
"""

from uploadd.testing.stores import check_store
from uploadd.testing.sweep import cancel_at_every_step

__all__ = ["cancel_at_every_step", "check_store"]
