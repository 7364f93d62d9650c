"""What proves tokens: the files that they, or the keys that signed them, are kept in."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

import msgspec

from uploadd.auth import files
from uploadd.auth.files import Unusable
from uploadd.auth.jws import Jwk, proven, read_keys
from uploadd.auth.who import Standing
from uploadd.errors import Unauthorised
from uploadd.protocol import tickets, tokens
from uploadd.protocol.tickets import Ticket
from uploadd.protocol.tokens import Claims, Scope, Stored, Terms

REMEMBERED: Final = 4096
"""Signed tokens that are not verified again each time."""


class Places(NamedTuple):
    """Where it all lies; a folder may be missing, a file that is named may not."""

    tokens: str
    keys: str
    jwks: str | None = None
    terms: Terms | None = None
    """What a JSON Web Token must say; there with ``jwks``."""


class Proof(NamedTuple):
    """What a token says, and what vouches for it."""

    claims: Claims
    standing: Standing


class _Kept(NamedTuple):
    stored: Stored
    claims: Claims
    standing: Standing


class Keyring:
    """Opened by the constructor, which may block.  Raises Unusable."""

    def __init__(self, places: Places) -> None:
        self._places = places
        self._tokens: dict[str, _Kept] = {}
        self._jwks: list[Jwk] = []
        self._keys: dict[bytes, Standing] = {}
        self._proven: OrderedDict[bytes, Proof] = OrderedDict()
        self._stamp: tuple[object, ...] = ()
        self.load()()

    # --- the files, in a thread -------------------------------------------------------------

    def changed(self) -> bool:
        """Whether any of the files has changed since it was loaded.  May block."""
        return self._stamp_now() != self._stamp

    def refresh(self, tell: files.Tell) -> Callable[[], None]:
        """As `load`; what cannot be used keeps nothing else from counting, and *tell* hears of it.

        So a token that was revoked is, whatever lies beside it.
        """
        stamp = self._stamp_now()
        try:
            return self.load(tell)
        except Unusable as error:
            tell(error)

        def stay() -> None:
            self._stamp = stamp  # of before it was read: it may have been mended since

        return stay

    def load(self, tell: files.Tell = files.refuse) -> Callable[[], None]:
        """Read everything again; what then takes its place, on the loop.  May block.

        *tell* hears of tokens and keys that permit nothing.  Raises Unusable, and then all stays
        as it was.
        """
        stamp, places = self._stamp_now(), self._places
        stored, keys = files.stored(places.tokens, tell), files.keys(places.keys, tell)
        jwks = self._read_jwks(tell)

        def take() -> None:
            self._stamp = stamp
            self._take_tokens(stored)
            self._take_keys(keys)
            self._take_jwks(jwks)
            self._proven.clear()

        return take

    def _read_jwks(self, tell: files.Tell) -> list[Jwk]:
        """The keys of others; those of before, where *tell* takes that they cannot be read."""
        if self._places.jwks is None:
            return []
        try:
            return _jwks(self._places.jwks)
        except Unusable as error:
            tell(Unusable(error.path, f"{error.why} (so its keys are those of before)"))
            return self._jwks

    def _stamp_now(self) -> tuple[object, ...]:
        paths: Iterable[str | None] = self._places[:3]
        return tuple(files.stamp(path) for path in paths if path is not None)

    def _take_tokens(self, stored: dict[str, Stored]) -> None:
        before, self._tokens = self._tokens, {}
        for id, one in stored.items():
            old = before.get(id)
            same = old is not None and old.stored == one
            self._tokens[id] = old if old and same else _Kept(one, one.claims(), Standing(id))
        _end(kept.standing for id, kept in before.items() if self._tokens.get(id) is not kept)

    def _take_keys(self, keys: list[bytes]) -> None:
        before, self._keys = self._keys, {}
        self._keys = {key: before.pop(key, Standing()) for key in keys}
        _end(before.values())

    def _take_jwks(self, jwks: list[Jwk]) -> None:
        before, self._jwks = self._jwks, jwks
        for key in jwks:
            for old in before:
                if old.said == key.said:
                    key.standing = old.standing
        kept = {id(key.standing) for key in jwks}
        _end(old.standing for old in before if id(old.standing) not in kept)

    # --- proving ----------------------------------------------------------------------------

    @property
    def knows_tokens(self) -> bool:
        """Whether there is anything but links that one could show."""
        return bool(self._tokens or self._jwks)

    def prove(self, text: str, now: float) -> Proof:
        """What the token *text* says.  Raises Unauthorised, which does not repeat it."""
        if (id := tokens.id_of(text)) is not None:
            kept = self._tokens.get(id)
            if kept is None or not tokens.is_same(kept.stored.sha256, tokens.hashed(text)):
                raise Unauthorised("this server does not know the token", hint=_UNKNOWN)
            return Proof(kept.claims, kept.standing)
        mark = hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
        if (known := self._proven.get(mark)) is None:
            known = self._proven[mark] = self._prove_signed(text, now)
            if len(self._proven) > REMEMBERED:
                self._proven.popitem(last=False)
        return known

    def _prove_signed(self, text: str, now: float) -> Proof:
        if tickets.is_ticket(text):
            ticket, key = tickets.verify(self._keys, text)
            return Proof(
                ticket.claims(), Standing(of=(self._keys[key], *self._makers(ticket, key)))
            )
        terms = self._places.terms
        if terms is None or not self._jwks:
            raise Unauthorised("the token is not one of this server's", hint=_UNKNOWN)
        payload, standing = proven(self._jwks, text)
        return Proof(tokens.read_claims(payload, terms, now), standing)

    # --- links ------------------------------------------------------------------------------

    def sign(self, ticket: Ticket, maker: Standing | None = None) -> str | None:
        """The text of *ticket*, which is good as long as *maker* is; None while there is no key:
        see `with_key`.  Raises Unauthorised for a *maker* that was taken back.
        """
        key = next(iter(self._keys), None)
        if key is None:
            return None
        if maker is not None:
            by = maker.name or self._marks(key).get(maker)
            if not (maker.good and by):
                raise Unauthorised("the token was revoked", hint=_UNKNOWN)
            ticket = msgspec.structs.replace(ticket, by=by)
        return tickets.sign(key, ticket)

    def _makers(self, ticket: Ticket, key: bytes) -> list[Standing]:
        """What must be good beside *key*, which has signed *ticket*.  Raises Unauthorised."""
        if not ticket.by:
            return []
        if (kept := self._tokens.get(ticket.by)) is not None:
            if kept.claims.scopes.isdisjoint((ticket.needs, Scope.ADMIN)):
                raise Unauthorised(f"the token of this link lacks {ticket.needs} now", hint=_ASK)
            return [kept.standing]
        for standing, mark in self._marks(key).items():
            if mark == ticket.by:
                return [standing]
        raise Unauthorised("the token that this link was made with was revoked", hint=_ASK)

    def _marks(self, key: bytes) -> dict[Standing, str]:
        """How links that *key* signs name the keys of others."""
        return {one.standing: tickets.mark(key, one.raw) for one in self._jwks}

    def with_key(self) -> Callable[[], None]:
        """As `load`, after there was made a key for links.  May block.  Raises Unusable."""
        try:
            files.new_key(self._places.keys)
        except OSError as error:
            raise Unusable(self._places.keys, error.strerror or "cannot be written") from error
        return self.load()


_ASK: Final = "ask whoever gave it to you for another"
_UNKNOWN: Final = "check that it is complete; it may have been revoked: ask for a new one"


def _jwks(path: str) -> list[Jwk]:
    try:
        keys = read_keys(files.read(path))
    except ValueError as error:
        raise Unusable(path, str(error)) from error
    if any(key.secret for key in keys) and files.is_open(path):
        raise Unusable(path, f"it has a shared secret, and everybody can read it: chmod o= {path}")
    return keys


def _end(standings: Iterable[Standing]) -> None:
    for standing in standings:
        standing.end()
