"""XOR masking for wsproto in one C call (RFC 6455, 5.3).

wsproto unmasks in pure Python, and that is most of what a received byte costs.  The routine
of ``websockets.speedups`` does the same at memory speed; where its C module was not built,
one XOR of two big integers takes its place.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Final

import wsproto.frame_protocol


def apply_mask_python(data: bytes | bytearray, mask: bytes | bytearray, /) -> bytes:
    """*data* XORed with the 4 bytes of *mask*, repeated; without C."""
    count = len(data)
    key = (bytes(mask) * (count // 4 + 1))[:count]
    mixed = int.from_bytes(data, sys.byteorder) ^ int.from_bytes(key, sys.byteorder)
    return mixed.to_bytes(count, sys.byteorder)


apply_mask: Callable[[bytes | bytearray, bytes | bytearray], bytes]
try:
    from websockets.speedups import apply_mask
except ImportError:
    apply_mask = apply_mask_python

ACCELERATED: Final = apply_mask is not apply_mask_python
"""Whether the C routine was found."""


class Masker:
    """Takes the place of wsproto's ``XorMaskerSimple``; keeps its place in the key."""

    __slots__ = ("_key",)

    def __init__(self, masking_key: bytes | bytearray) -> None:
        self._key = bytes(masking_key)

    def process(self, data: bytes | bytearray) -> bytes:
        """*data* masked or unmasked, going on in the key where the last call ended."""
        out = apply_mask(data, self._key)
        turn = len(data) % 4
        if turn:
            self._key = self._key[turn:] + self._key[:turn]
        return out


def install() -> None:
    """Make wsproto use ``Masker``, at both ends and in the whole process; again changes nothing."""
    # wsproto looks the class up by this name for every frame and has no other seam.
    wsproto.frame_protocol.XorMaskerSimple = Masker  # type: ignore[assignment, misc]
