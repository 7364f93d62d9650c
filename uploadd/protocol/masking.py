"""XOR masking in one C call (RFC 6455, 5.3).

Done in Python it would be most of what a received byte costs.  The routine of
``websockets.speedups`` works at memory speed; where its C module was not built, one XOR of two
big integers takes its place.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Final

Bytes = bytes | bytearray | memoryview
Routine = Callable[[Bytes, bytes | bytearray], bytes]


def apply_mask_python(data: Bytes, mask: bytes | bytearray, /) -> bytes:
    """*data* XORed with the 4 bytes of *mask*, repeated; without C."""
    count = len(data)
    key = (bytes(mask) * (count // 4 + 1))[:count]
    mixed = int.from_bytes(data, sys.byteorder) ^ int.from_bytes(key, sys.byteorder)
    return mixed.to_bytes(count, sys.byteorder)


apply_mask: Routine
try:
    from websockets.speedups import apply_mask
except ImportError:
    apply_mask = apply_mask_python

ACCELERATED: Final = apply_mask is not apply_mask_python
"""Whether the C routine was found."""
