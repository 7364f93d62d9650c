"""Standard Webhooks: how a receiver knows who has sent a document, when, and that it is whole."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from typing import Final

PREFIX: Final = "whsec_"
"""What a secret begins with; the rest is base64."""
LEAST: Final = 24
"""Bytes of a secret."""


def key_of(secret: str) -> bytes:
    """The key in *secret*.  Raises ValueError for none, with what one looks like."""
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not secret.startswith(PREFIX) or len(key) < LEAST:
        raise ValueError(
            f'expected "{PREFIX}" and {LEAST} bytes or more in base64; make one: '
            f'echo "{PREFIX}$(head -c 32 /dev/urandom | base64)"'
        )
    return key


def headers(key: bytes | None, id: str, now: float, body: bytes) -> list[tuple[str, str]]:
    """What goes with *body*; signed, where there is a *key*.  *now* in epoch seconds."""
    at = str(int(now))
    fields = [("webhook-id", id), ("webhook-timestamp", at)]
    if key is not None:
        signed = hmac.digest(key, f"{id}.{at}.".encode() + body, hashlib.sha256)
        fields.append(("webhook-signature", "v1," + base64.b64encode(signed).decode("ascii")))
    return fields
