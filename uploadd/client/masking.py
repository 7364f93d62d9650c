"""Masking for wsproto, which the client's library is built on, in one C call.

wsproto masks in pure Python, and that is most of what a byte costs.
"""

from __future__ import annotations

import wsproto.frame_protocol

from uploadd.protocol import masking


class Masker:
    """Takes the place of wsproto's ``XorMaskerSimple``; keeps its place in the key."""

    __slots__ = ("_key",)

    def __init__(self, masking_key: bytes | bytearray) -> None:
        self._key = bytes(masking_key)

    def process(self, data: bytes | bytearray) -> bytes:
        """*data* masked or unmasked, going on in the key where the last call ended."""
        out = masking.apply_mask(data, self._key)
        turn = len(data) % 4
        if turn:
            self._key = self._key[turn:] + self._key[:turn]
        return out


def install() -> None:
    """Make wsproto use ``Masker``, at both ends and in the whole process; again changes nothing."""
    # wsproto looks the class up by this name for every frame and has no other seam.
    wsproto.frame_protocol.XorMaskerSimple = Masker  # type: ignore[assignment, misc]
