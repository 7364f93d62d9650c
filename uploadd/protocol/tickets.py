"""Tickets: signed, expiring permissions for one upload, to be handed on as links.

Pure functions of key, clock and text.  A ticket is used wherever a token can be: a link to send a
file carries it behind ``#``, which no browser tells any server or proxy.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Iterable
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from uploadd.errors import Unauthorised
from uploadd.protocol.tokens import Claims, Scope

PREFIX: Final = "ticket."
MARK: Final = "jwk."
LAST: Final = 2**33
"""When the last one ends, where the settings set no end."""
USUAL_LIFE: Final = 31 * 86400.0
"""Seconds for which one is good where nobody says."""
PARAMETER: Final = "ticket"
"""The parameter of a URL that has one."""
KEY_BYTES: Final = 32
_DOMAIN: Final = b"uploadd ticket 1\0"
_MARK_DOMAIN: Final = b"uploadd mark 1\0"
_SCOPES: Final = {
    "read": frozenset({Scope.READ}),
    "send": frozenset({Scope.CREATE, Scope.APPEND, Scope.WATCH}),
}


class Ticket(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """``read``: have the upload *id*.  ``send``: begin one upload, whose ticket has that *id*."""

    may: Literal["read", "send"]
    id: Annotated[str, Meta(min_length=1, max_length=64)]
    expires: int
    owner: str = ""
    """Whose upload it will be: also somebody's without a token, whom no token can name."""
    max_length: Annotated[int, Meta(ge=0)] | None = None
    by: str = ""
    """The token of ours that it was made with, or the `mark` of the key of another; empty: made by
    whoever has the key for links, or where nobody is asked."""

    @property
    def needs(self) -> Scope:
        """What that token must still permit."""
        return Scope.READ if self.may == "read" else Scope.CREATE

    def claims(self) -> Claims:
        """What its bearer may."""
        sends = self.may == "send"
        return Claims(
            self.owner,
            _SCOPES[self.may],
            float(self.expires),
            upload=None if sends else self.id,
            key=f"{PREFIX}{self.id}" if sends else None,
            max_length=self.max_length,
        )


_ticket = msgspec.json.Decoder(Ticket)


def is_ticket(text: str) -> bool:
    """Whether *text* means to be one."""
    return text.startswith(PREFIX)


def is_spent(key: str | None) -> bool:
    """Whether *key* is that of a link, which is for one upload also when that was deleted."""
    return key is not None and key.startswith(PREFIX)


def sign(key: bytes, ticket: Ticket) -> str:
    """*ticket* as text that nobody can make without *key*."""
    body = _packed(msgspec.json.encode(ticket))
    return f"{PREFIX}{body}.{_packed(_mac(key, body))}"


def verify(keys: Iterable[bytes], text: str) -> tuple[Ticket, bytes]:
    """The ticket in *text*, and which of *keys* has signed it.

    Raises Unauthorised; not for its age.
    """
    body, _, mac = text.removeprefix(PREFIX).partition(".")
    try:
        said = _unpacked(mac)
        key = next((key for key in keys if hmac.compare_digest(_mac(key, body), said)), None)
        if key is None:
            raise Unauthorised("the link is not one of this server's", hint=_HINT)
        ticket = _ticket.decode(_unpacked(body))
    except (ValueError, msgspec.MsgspecError) as error:
        raise Unauthorised("the link is not whole", hint=_HINT) from error
    return ticket, key


def mark(key: bytes, raw: bytes) -> str:
    """How tickets that *key* signs name the key *raw*, which may be secret, of somebody else."""
    return MARK + _packed(hmac.digest(key, _MARK_DOMAIN + raw, hashlib.sha256)[:12])


def link(ticket: Ticket, text: str) -> str:
    """The link that carries *text*, relative to the server."""
    return f"/#{PARAMETER}={text}" if ticket.may == "send" else f"/f/{ticket.id}?{PARAMETER}={text}"


_HINT: Final = "copy all of it, or ask for a new one"


def _mac(key: bytes, body: str) -> bytes:
    return hmac.digest(key, _DOMAIN + body.encode("ascii", "replace"), hashlib.sha256)


def _packed(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode("ascii").rstrip("=")


def _unpacked(text: str) -> bytes:
    """Raises ValueError, also for a second spelling of the same bytes."""
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except binascii.Error as error:
        raise ValueError("not base64url") from error
    if _packed(raw) != text:
        raise ValueError("not base64url as we write it")
    return raw
