"""What a server has against a ``begin`` or a ``finish``, before it looks for an upload."""

from __future__ import annotations

from typing import Final

from uploadd import errors as e
from uploadd.errors import UploadError
from uploadd.protocol.wsmessages import DIGEST_SIZES, Begin, Digest

MIN_ANONYMOUS_KEY: Final = 22  # characters; 128 bits in base64url


def begin_objection(said: Begin, *, anonymous: bool) -> UploadError | None:
    """What is wrong with *said* whatever the upload is; *anonymous*: nobody owns it."""
    if (said.start, said.end, said.ticket) != (None, None, None):
        return e.Unsupported("start, end and ticket are not offered: see welcome.can")
    if said.key is not None and anonymous and len(said.key) < MIN_ANONYMOUS_KEY:
        return e.Unsupported(
            "without a token whoever guesses a key has its upload",
            hint=f"a key of at least {MIN_ANONYMOUS_KEY} random characters, or a token",
        )
    return digest_objection(said.digest)


def digest_objection(digest: Digest | None) -> UploadError | None:
    """Whether *digest* is of an algorithm that is offered."""
    if digest is None or digest.alg in DIGEST_SIZES:
        return None
    return e.Unsupported(f"digest {digest.alg} is not offered", hint=", ".join(DIGEST_SIZES))
