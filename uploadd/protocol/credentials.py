"""Where in a request its token stands: a field, a cookie, or the query of a download."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from uploadd.errors import OriginNotAllowed, TokenExpired, Unauthorised, UploadError
from uploadd.protocol.fields import Field
from uploadd.protocol.heads import Head
from uploadd.protocol.origins import SAFE_METHODS, Origin, check_origin
from uploadd.protocol.questions import query_of
from uploadd.protocol.tickets import PARAMETER
from uploadd.protocol.tokens import MAX_TOKEN

COOKIE: Final = b"uploadd_token"
CHALLENGE: Final = 'Bearer realm="uploadd"'
QUERY_PATH: Final = "/f/"
"""Where a ticket may stand in the URL, for those who can only follow a link."""


def token_of(head: Head, origins: Collection[Origin]) -> str | None:
    """The token that *head* shows; None when it shows none, or in a cookie that does not count.

    Raises Unauthorised for one that cannot be read, BadRequest for two of them.
    """
    said = head.get(b"authorization")
    if said is not None:
        scheme, _, token = said.decode("latin-1").partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise Unauthorised("Authorization is not Bearer and a token", hint=_FIELD)
        return _bounded(token.strip())
    path, _, query = head.target.partition("?")
    if query and path.startswith(QUERY_PATH):
        found = query_of(query).get(PARAMETER, [])
        if len(found) == 1:
            return _bounded(found[0])
    if head.values(b"cookie"):
        return _cookie(head, origins)
    return None


_FIELD: Final = "Authorization: Bearer <token>"


_OURSELVES: Final = ([b"same-origin"], [b"none"])
"""What a browser says when a page of ours asks, or whoever sits in front of it."""


def _cookie(head: Head, origins: Collection[Origin]) -> str | None:
    """The token in a cookie, which a browser sends whoever has made it ask: where no allowed page
    has, it is as if there were none.
    """
    pairs = [item.strip() for line in head.values(b"cookie") for item in line.split(b";")]
    found = [value for name, _, value in (pair.partition(b"=") for pair in pairs) if name == COOKIE]
    if len(found) != 1:
        return None
    return _bounded(found[0].strip(b'"').decode("latin-1")) if _is_vouched(head, origins) else None


def _is_vouched(head: Head, origins: Collection[Origin]) -> bool:
    """Whether the browser says that an allowed page, or whoever sits in front of it, asks."""
    said = head.values(b"origin")
    if not said:
        return head.method in SAFE_METHODS and head.values(b"sec-fetch-site") in _OURSELVES
    try:
        check_origin(said, head.authority, origins)
    except OriginNotAllowed:
        return False
    return True


def _bounded(token: str) -> str:
    if len(token) > MAX_TOKEN:
        raise Unauthorised(f"a token of {len(token)} bytes: at most {MAX_TOKEN} are looked at")
    return token


def challenge_for(error: UploadError) -> list[Field]:
    """What goes with *error*, if it is about a token (RFC 6750 section 3)."""
    match error:
        case TokenExpired():
            return [("WWW-Authenticate", f'{CHALLENGE}, error="invalid_token"')]
        case Unauthorised():
            return [("WWW-Authenticate", CHALLENGE)]
    return []
