"""What an HTTP status and its problem document (RFC 9457) mean to us."""

from __future__ import annotations

from typing import Final

import msgspec

from uploadd.client.address import Address, speaks_tls, unavailable, wants_tls
from uploadd.client.errors import NotAuthorised, Rejected, UploadFailed

NOT_NOW: Final = frozenset({408, 423, 425, 429, 500, 502, 503, 504})
"""Statuses after which another attempt makes sense."""


_REFUSED_SIZE: Final = "a proxy in front refused the size (nginx: client_max_body_size 0;)"


class _Problem(msgspec.Struct):
    """What we read of application/problem+json."""

    code: str = ""
    detail: str = ""
    hint: str | None = None


def is_problem(status: int, body: bytes) -> bool:
    """Whether it is one that uploadd, or a proxy in front of it, would answer with."""
    return status == 401 or status in NOT_NOW or bool(_read(body).code)


def failure(status: int, body: bytes, address: Address) -> UploadFailed:
    """The exception for an answer that is not the one we asked for."""
    if not address.secure and speaks_tls(body):
        return wants_tls(address)
    said = _read(body)
    told = said.detail or f"HTTP status {status}"
    if status == 401:
        return NotAuthorised(f"{address.authority} does not let us in: {told}", said.hint)
    if status in NOT_NOW:
        return unavailable(address, told)
    from_proxy = _REFUSED_SIZE if status == 413 and not said.code else None
    hint = said.hint or from_proxy or ("check the URL" if status in (404, 410) else None)
    return Rejected(said.code or f"http-{status}", told, hint)


def _read(body: bytes) -> _Problem:
    try:
        return msgspec.json.decode(body or b"{}", type=_Problem)
    except msgspec.MsgspecError:
        return _Problem()
