"""When a certificate ends (RFC 5280 section 4.1): as much of PEM and DER as that takes."""

from __future__ import annotations

import base64
import re
from datetime import UTC, datetime
from typing import Final

SOON: Final = 14 * 86_400.0
"""Seconds before its end from which on it is told."""
_PEM: Final = re.compile("-----BEGIN (?:X509 |TRUSTED )?CERTIFICATE-----([^-]*)-----END ")
_VERSION, _UTC_TIME = 0xA0, 0x17


def ends(pem: str) -> float:
    """The end of the first certificate in *pem*, in epoch seconds.  Raises ValueError."""
    found = _PEM.search(pem)
    if found is None:
        raise ValueError("there is no certificate")
    try:
        return _ends(base64.b64decode(found[1]))
    except IndexError:
        raise ValueError("the certificate is cut off") from None


def worry(end: float, now: float) -> str:
    """What a certificate that ends then does; empty while there is time enough."""
    days = (end - now) / 86_400
    on = datetime.fromtimestamp(end, UTC).strftime("%Y-%m-%d %H:%M UTC")
    if days <= 0:
        return f"has ended on {on}: nobody believes it any more"
    if end - now < SOON:
        return f"ends in {days:.1f} days, on {on}"
    return ""


def _ends(der: bytes) -> float:
    _, certificate, _ = _value(der)
    _, told, _ = _value(certificate)
    tag, _, rest = _value(told)
    if tag == _VERSION:  # left out, it is the first
        _, _, rest = _value(rest)
    for _ in ("signature", "issuer"):
        _, _, rest = _value(rest)
    _, validity, _ = _value(rest)
    _, _, rest = _value(validity)
    tag, last, _ = _value(rest)
    text = last.decode("ascii")
    if tag == _UTC_TIME:  # with two digits of the year, until 2049
        text = ("20" if text < "50" else "19") + text
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC).timestamp()


def _value(data: bytes) -> tuple[int, bytes, bytes]:
    """Tag and content of the first value in *data*, and what follows it.  Raises IndexError."""
    length, at = data[1], 2
    if length & 0x80:
        at += length & 0x7F
        length = int.from_bytes(data[2:at], "big")
    if at + length > len(data):
        raise IndexError
    return data[0], data[at : at + length], data[at + length :]
