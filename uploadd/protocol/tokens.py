"""Tokens as data: whom one names, what it permits, until when.

What proves that a token is genuine (a hash, a signature) is computed elsewhere; here stands what
it says, and whether that is to be believed.  All times are seconds since the epoch.
"""

from __future__ import annotations

import hashlib
import hmac
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from uploadd.errors import Forbidden, TokenExpired, Unauthorised
from uploadd.protocol.dates import format_date

MAX_TOKEN: Final = 8 * 1024
"""Bytes of the longest token that is looked at."""
LEEWAY: Final = 60.0
"""Seconds by which another clock may be ahead of ours."""
PREFIX: Final = "uploadd_"
_OURS: Final = re.compile(rf"{PREFIX}([a-z0-9]{{4,32}})_[A-Za-z0-9_-]{{43}}")
_UNFIT: Final = r"\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff"
"""What ends a line, turns it round, or cannot be written down."""
_SUBJECT: Final = re.compile(rf"[^\W_@?][^{_UNFIT}]{{0,254}}")
"""Anonymous owners begin with @ or ?, and must never be met by a token."""


class Scope(StrEnum):
    """What a token permits; of uploads only those of its own subject, but for ``admin``."""

    CREATE = "create"
    APPEND = "append"
    READ = "read"
    DELETE = "delete"
    LIST = "list"
    WATCH = "watch"
    ADMIN = "admin"


USUAL: Final = frozenset(Scope) - {Scope.ADMIN}
"""What a token of ours permits that does not say."""


@dataclass(frozen=True, slots=True)
class Claims:
    """What a genuine token says."""

    subject: str
    scopes: frozenset[Scope] = USUAL
    expires: float = math.inf
    upload: str | None = None
    """The one upload that it is about."""
    key: str | None = None
    """The idempotency key of the one upload that may be begun with it."""
    max_length: int | None = None
    """Bytes of the largest upload that may be begun with it."""

    def expired(self, now: float) -> bool:
        """Whether it permits nothing new any more."""
        return now >= self.expires

    def check(self, now: float) -> None:
        """Raises TokenExpired."""
        if self.expired(now):
            raise TokenExpired(
                f'the token for "{self.subject}" expired {_ago(now - self.expires)} ago '
                f"({format_date(int(self.expires))}; the clock of the server: "
                f"{format_date(int(now))})"
            )


def check_subject(subject: str) -> str:
    """*subject*, if it can own uploads.  Raises ValueError."""
    if not _SUBJECT.fullmatch(subject):
        raise ValueError(
            "a subject has 1 to 255 characters, none of which ends a line or turns it round, and"
            " begins with a letter or digit"
        )
    return subject


def read_scopes(words: Iterable[str]) -> frozenset[Scope]:
    """The scopes of those names.  Raises ValueError for a name that is none."""
    found = frozenset(words)
    if unknown := found - set(Scope):
        raise ValueError(f"{min(unknown)[:40]!r} is no scope: {', '.join(Scope)}")
    return frozenset(map(Scope, found))


# --- tokens of our own: a random secret, of which only a hash is kept ---------------------------


def token_text(id: str, secret: str) -> str:
    """The token *id*, for whoever is to have it; *secret* is 32 random bytes in base64url."""
    return f"{PREFIX}{id}_{secret}"


def id_of(text: str) -> str | None:
    """The id in a token of ours; None when it is another kind."""
    found = _OURS.fullmatch(text)
    return found[1] if found else None


def hashed(text: str) -> str:
    """What is kept of a token: it is random enough for a plain hash."""
    return hashlib.sha256(text.encode()).hexdigest()


def is_same(one: str, other: str) -> bool:
    """Whether two hashes are the same, in constant time."""
    return hmac.compare_digest(one.encode(), other.encode())


class Stored(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """A token as a file keeps it."""

    subject: str
    sha256: Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
    scopes: tuple[str, ...] = tuple(sorted(USUAL))
    expires: Annotated[float, Meta(ge=0)] | None = None

    def claims(self) -> Claims:
        """What it says.  Raises ValueError."""
        expires = math.inf if self.expires is None else self.expires
        return Claims(check_subject(self.subject), read_scopes(self.scopes), expires)


# --- JSON Web Tokens (RFC 7519) -----------------------------------------------------------------


class JoseHeader(msgspec.Struct, frozen=True):
    """Of its header what decides which key is asked."""

    alg: str
    kid: str | None = None
    crit: tuple[str, ...] | None = None
    b64: bool = True


class Terms(msgspec.Struct, frozen=True):
    """What a token must say to be meant for us."""

    audience: str
    issuer: str | None = None
    scopes: frozenset[Scope] = frozenset()
    """What a token permits that has no ``scope``."""


class _Payload(msgspec.Struct, frozen=True):
    sub: str
    exp: float
    aud: str | tuple[str, ...]
    iss: str | None = None
    nbf: float | None = None
    iat: float | None = None
    scope: str | None = None


_header = msgspec.json.Decoder(JoseHeader)
_payload = msgspec.json.Decoder(_Payload)


def read_header(raw: bytes) -> JoseHeader:
    """The header of a token that may be asked about.  Raises Unauthorised."""
    try:
        header = _header.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Unauthorised("the token is no JSON Web Token") from error
    if header.crit is not None or not header.b64:
        raise Unauthorised("the token demands what is not understood here (crit)")
    return header


def read_claims(raw: bytes, terms: Terms, now: float) -> Claims:
    """The claims of a token whose signature is good.  Raises Unauthorised; not for its age."""
    try:
        told = _payload.decode(raw)
        subject = check_subject(told.sub)
        words = told.scope.split() if told.scope is not None else terms.scopes
    except (ValueError, msgspec.MsgspecError, RecursionError) as error:
        raise Unauthorised(f"what the token says cannot be used: {error}"[:200]) from error
    if not all(math.isfinite(t) for t in (told.exp, told.nbf or 0.0, told.iat or 0.0)):
        raise Unauthorised("a time in the token is no number")
    if terms.audience not in ([told.aud] if isinstance(told.aud, str) else told.aud):
        raise Unauthorised("the token is for somebody else (aud)", hint=_AUDIENCE)
    if terms.issuer is not None and told.iss != terms.issuer:
        raise Unauthorised("the token is from somebody else (iss)", hint=_ISSUER)
    for name, moment in (("nbf", told.nbf), ("iat", told.iat)):
        if moment is not None and moment > now + LEEWAY:
            raise Unauthorised(
                f'the token for "{subject}" begins {_ago(moment - now)} from now ({name})',
                hint=f"the clocks differ: that of the server says {format_date(int(now))}",
            )
    # Other services have scopes of their own, and one token may be for several.
    scopes = frozenset(Scope(word) for word in words if word in set(Scope))
    return Claims(subject, scopes, told.exp)


_AUDIENCE: Final = "access.jwt_audience is what aud must hold"
_ISSUER: Final = "access.jwt_issuer is what iss must be"


def insufficient(scope: str) -> Forbidden:
    """The refusal of a token that lacks *scope*."""
    return Forbidden(f"the token does not permit this: it lacks {scope}", hint=f"scope {scope}")


def _ago(seconds: float) -> str:
    for unit, size in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds // size:.0f} {unit}"
    return f"{seconds:.0f} s"
