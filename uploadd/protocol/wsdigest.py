"""A digest as it is written in a message."""

from __future__ import annotations

import binascii
import re
from typing import Final

DIGEST_SIZES: Final = {"sha-256": 32}  # the algorithms offered, and their bytes


class Digest:
    """A digest as RFC 9530 writes one: ``sha-256=:<base64>:``."""

    __slots__ = ("alg", "value")

    def __init__(self, alg: str, value: bytes) -> None:
        self.alg = alg
        self.value = value

    @classmethod
    def parse(cls, text: object) -> Digest:
        """Raises ValueError: not a digest, or not as many bytes as its algorithm gives."""
        match = _DIGEST.fullmatch(text) if isinstance(text, str) else None
        if match is None:
            raise ValueError("a digest is written sha-256=:<base64>:")
        out = cls(match[1], binascii.a2b_base64(match[2], strict_mode=True))
        if len(out.value) != DIGEST_SIZES.get(out.alg, len(out.value)):
            raise ValueError(f"{out.alg} has {DIGEST_SIZES[out.alg]} bytes")
        return out

    def __str__(self) -> str:
        return f"{self.alg}=:{binascii.b2a_base64(self.value, newline=False).decode()}:"

    def __repr__(self) -> str:
        return f"Digest({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Digest) and (self.alg, self.value) == (other.alg, other.value)

    def __hash__(self) -> int:
        return hash((self.alg, self.value))


_DIGEST = re.compile(r"([a-z0-9][a-z0-9-]{0,31})=:([A-Za-z0-9+/]+={0,2}):")
