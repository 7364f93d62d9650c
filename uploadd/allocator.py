"""Ask the C library not to give buffers of a megabyte back to the system after each use.

glibc does by default, and then every new one costs 256 page faults: more than reading, masking
and sending it.
"""

from __future__ import annotations

import ctypes
from typing import Final

KEEP: Final = 128 << 20  # bytes of free memory that stay ours
LARGEST: Final = 32 << 20  # bytes up to which buffers come from there; glibc allows no more

_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3


def keep_buffers() -> bool:
    """For the whole process; False where the C library is another one, which changes nothing."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    kept = mallopt(_M_TRIM_THRESHOLD, KEEP) and mallopt(_M_MMAP_THRESHOLD, LARGEST)
    return bool(kept)
