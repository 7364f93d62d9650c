"""Checksums of one request's body: which, and what the client says that it is."""

from __future__ import annotations

import binascii
import hashlib
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from uploadd.errors import BadRequest, ChecksumUnsupported
from uploadd.protocol import structured

SIZES: Final[Mapping[str, int]] = {"sha1": 20, "sha256": 32, "sha512": 64, "md5": 16, "crc32": 4}
"""Bytes of each algorithm's value, named as hashlib does; the order is that of the answers."""
# Only what withstands an attacker (RFC 9530 section 5); the first that is there is taken.
_DIGESTS: Final = {"sha-256": "sha256", "sha-512": "sha512"}


@dataclass(frozen=True, slots=True)
class Checksum:
    """What the body must have.  Raises ChecksumUnsupported, or BadRequest for a wrong size."""

    algorithm: str
    """One of SIZES."""
    value: bytes
    """CRC-32 is four bytes, the most significant first."""

    def __post_init__(self) -> None:
        if self.algorithm not in SIZES:
            known = ", ".join(SIZES)
            raise ChecksumUnsupported(
                f"no checksum {self.algorithm[:40]!r} here", hint=f"use one of {known}"
            )
        if len(self.value) != SIZES[self.algorithm]:
            raise BadRequest(
                f"{self.algorithm} has {SIZES[self.algorithm]} bytes, not {len(self.value)}"
            )


@dataclass(frozen=True, slots=True)
class Announced:
    """It comes behind the body, and only there it is said of which algorithm it is."""


class Hasher(Protocol):
    """Something that takes bytes in order and knows the checksum of them all."""

    def update(self, data: bytes | bytearray | memoryview, /) -> None:
        """Take the next bytes."""

    def digest(self) -> bytes:
        """The checksum of what was taken."""


def hasher(algorithm: str) -> Hasher:
    """A new one of *algorithm*, one of SIZES."""
    if algorithm == "crc32":
        return _Crc32()
    return hashlib.new(algorithm, usedforsecurity=False)


class _Crc32:
    __slots__ = ("_sum",)

    def __init__(self) -> None:
        self._sum = 0

    def update(self, data: bytes | bytearray | memoryview, /) -> None:
        self._sum = zlib.crc32(data, self._sum)

    def digest(self) -> bytes:
        return self._sum.to_bytes(4, "big")


def parse_checksum(text: str) -> Checksum:
    """The checksum in ``algorithm base64``; raises BadRequest or ChecksumUnsupported."""
    algorithm, _, encoded = text.strip(" \t").partition(" ")
    if algorithm not in SIZES:
        return Checksum(algorithm, b"")  # refuses it
    try:
        value = binascii.a2b_base64(encoded.encode("latin-1", "replace"), strict_mode=True)
    except binascii.Error as exc:
        raise BadRequest(f"a checksum is 'algorithm base64', and this is not: {exc}") from None
    return Checksum(algorithm, value)


def parse_digest(text: str) -> Checksum | None:
    """The best that a digest field offers (RFC 9530); None when there is none that we compute.

    Raises BadRequest for a value that no body can have.
    """
    offered = structured.dictionary(text) or {}
    for name, algorithm in _DIGESTS.items():
        value = offered.get(name)
        if isinstance(value, bytes):
            return Checksum(algorithm, value)
    return None


def parse_sha256(text: str) -> bytes | None:
    """The SHA-256 that a digest field names, None without; raises BadRequest as `parse_digest`."""
    value = (structured.dictionary(text) or {}).get("sha-256")
    return Checksum("sha256", value).value if isinstance(value, bytes) else None


def wants_sha256(text: str) -> bool:
    """Whether a ``Want-`` field asks for SHA-256: preferences are 0, not at all, to 10."""
    preference = (structured.dictionary(text) or {}).get("sha-256")
    return type(preference) is int and 0 < preference <= 10


def digest_text(sha256: bytes) -> str:
    """A digest field's value."""
    return structured.write_dictionary({"sha-256": sha256})
