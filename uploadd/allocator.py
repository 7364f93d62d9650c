"""How memory is used again: buffers of a megabyte, and what Python collects.

glibc gives such a buffer back to the system after each use, and then every new one costs 256 page
faults: more than reading, masking and sending it.

Python looks for cycles whenever 700 more objects live than died.  A thousand uploads that wait for
one flush are more than that, and none of them is garbage: it looked in vain, again and again.  And
each look is at all objects that were made since the last one and live: with two thousand uploads
under way, of which every chunk makes new ones, at 90 000 of them, 50 ms in which nobody is served.
"""

from __future__ import annotations

import ctypes
import gc
from typing import Final

KEEP: Final = 128 << 20  # bytes of free memory that stay ours
LARGEST: Final = 32 << 20  # bytes up to which buffers come from there; glibc allows no more

SELDOM: Final = 50_000  # objects that live more than died, until cycles are looked for
OLDER: Final = 0  # every other look is at what the one before has left, too; were it at what four
# have left, as with 2, it would hold up everybody for 100 ms, and nearly all of that lives
OLDEST: Final = 20  # more than so many of those, and one may be at everything

_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3


def keep_buffers() -> bool:
    """For the whole process; False where the C library is another one, which changes nothing."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    kept = mallopt(_M_TRIM_THRESHOLD, KEEP) and mallopt(_M_MMAP_THRESHOLD, LARGEST)
    return bool(kept)


def collect_seldom() -> None:
    """Look for cycles less often, and never among what is there now: modules, and what started."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(SELDOM, OLDER, OLDEST)
