"""What somebody may do: the one place that says so, for every operation on every wire."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection
from enum import Enum
from typing import Final, Literal, NamedTuple

from uploadd import errors
from uploadd.auth.keyring import Keyring
from uploadd.auth.who import PROVEN, Who, anonymous, is_anonymous, is_of
from uploadd.errors import UploadError
from uploadd.protocol import tickets
from uploadd.protocol.tokens import Claims, Scope, insufficient
from uploadd.protocol.upload import State, Upload


class Operation(Enum):
    """What somebody may do or not."""

    CREATE = "begin an upload"
    APPEND = "go on with an upload, and complete it"
    LOOK = "see how an upload stands, and where it goes on"
    WATCH = "be told of an upload whose id is known"
    READ = "have the bytes of a complete upload"
    CANCEL = "end an upload that is not complete"
    DELETE = "remove a published file"
    LIST_MINE = "list what one has begun, and how it ended"
    LIST_ALL = "list what everybody has"
    WATCH_MINE = "be told of what one has begun"
    WATCH_ALL = "be told of what everybody has"
    SHARE = "make a link by which an upload can be had"
    INVITE = "make a link by which one can be sent"


class Rule(NamedTuple):
    """What a token must say for an operation; of an upload, it must be its subject's, too."""

    scopes: tuple[Scope, ...]
    """Any of these."""
    late: bool = False
    """Whether it is permitted for a while after the token has expired, of what was begun before:
    a large upload takes longer than many a token lives."""
    everybodys: bool = False
    """Whether it is about what others have: then the setting must permit it, too."""


O, S = Operation, Scope  # noqa: E741 - the table below is read as a table

TABLE: Final[dict[Operation, Rule]] = {
    O.CREATE:     Rule((S.CREATE,)),
    O.APPEND:     Rule((S.APPEND,), late=True),
    O.LOOK:       Rule((S.APPEND, S.READ, S.LIST, S.WATCH), late=True),
    O.WATCH:      Rule((S.WATCH,), late=True),
    O.READ:       Rule((S.READ,)),
    O.CANCEL:     Rule((S.APPEND, S.DELETE), late=True),
    O.DELETE:     Rule((S.DELETE,)),
    O.LIST_MINE:  Rule((S.LIST,)),
    O.LIST_ALL:   Rule((S.LIST,), everybodys=True),
    O.WATCH_MINE: Rule((S.WATCH,), late=True),
    O.WATCH_ALL:  Rule((S.WATCH,), everybodys=True),
    O.SHARE:      Rule((S.READ,)),
    O.INVITE:     Rule((S.CREATE,)),
}  # fmt: skip

_FREE: Final = frozenset({O.CREATE, O.APPEND, O.LOOK, O.WATCH, O.READ, O.CANCEL, O.SHARE, O.INVITE})
"""What needs no more than the id, where nobody is asked for a token."""
_LINKS: Final = frozenset({O.SHARE, O.INVITE})
_MINE: Final = frozenset({O.LIST_MINE, O.WATCH_MINE})
_ALL: Final = frozenset({O.LIST_ALL, O.WATCH_ALL})


class Access:
    """What is permitted.

    *listing*: whether everybody may see what everybody has; *reading*: whether a complete upload
    is for whoever knows its id.  *keyring* proves tokens; None: there are none.  *strangers*:
    whether one may come without.  *grace*: seconds for which an expired token is good for what
    was begun with it; *link_life*: those for which a link is good at most.
    """

    def __init__(
        self,
        *,
        listing: bool,
        reading: bool = False,
        keyring: Keyring | None = None,
        strangers: bool = True,
        grace: float = 0.0,
        link_life: float = math.inf,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.listing, self.reading = listing, reading
        self.keyring, self.strangers = keyring, strangers
        self._grace, self._link_life, self._now = grace, link_life, now

    def identify(self, token: str | None, client_id: str | None) -> Who:
        """Who shows *token*, or calls itself *client_id*.  Raises Unauthorised."""
        if token is None or self.keyring is None:
            return anonymous(client_id)
        claims, standing = self.keyring.prove(token, self._now())
        return Who(claims.subject, claims, standing)

    def may(self, who: Who, operation: Operation, upload: Upload | None = None) -> bool:
        """Whether *who* may do *operation*, on *upload* if it is about one."""
        if self.keyring is None and operation in _FREE:
            return True
        return self._refusal(who, operation, upload) is None

    def check(self, who: Who, operation: Operation, upload: Upload | None = None) -> None:
        """Raises Unauthorised, TokenExpired or Forbidden, which say why and what to do."""
        if self.keyring is None and operation in _FREE:
            return
        if (refusal := self._refusal(who, operation, upload)) is not None:
            raise refusal

    def admit(self, who: Who) -> None:
        """Refuse a conversation with somebody who may do nothing in it, any more.

        Raises Unauthorised.
        """
        self.check_still(who)
        if who.claims is None and not self.strangers:
            raise _token_needed()
        if who.claims is not None and self._now() >= who.claims.expires + self._grace:
            who.claims.check(self._now())

    def check_still(self, who: Who) -> None:
        """Raises Unauthorised when the token of *who* was taken back."""
        if who.revoked:
            raise _revoked()

    def over(self, who: Who) -> UploadError | None:
        """Why the token of *who* is good for nothing any more; None while it is, or without."""
        try:
            if who.claims is not None:
                self.admit(who)
        except UploadError as error:
            return error
        return None

    def link_ends(self, who: Who, life: float | None) -> int:
        """When a link ends that *who* makes now, to live so many seconds: when the settings say, or
        with their token, at the latest.
        """
        life = min(tickets.USUAL_LIFE if life is None else life, self._link_life)
        over = math.inf if who.claims is None else who.claims.expires
        return int(min(self._now() + life, over, tickets.LAST))

    def adopt(self, *, listing: bool, reading: bool, grace: float, link_life: float) -> None:
        """Go by other settings from now on."""
        self.listing, self.reading = listing, reading
        self._grace, self._link_life = grace, link_life

    # --- inside -----------------------------------------------------------------------------

    def _refusal(self, who: Who, operation: Operation, upload: Upload | None) -> UploadError | None:
        if who.revoked:
            return _revoked()
        if self._is_open(who, operation, upload):
            return None
        if who.claims is None:
            return self._no_token(operation, upload)
        return self._by_token(who, who.claims, operation, upload)

    def _is_open(self, who: Who, operation: Operation, upload: Upload | None) -> bool:
        """Whether it needs no token."""
        if operation is O.READ and self.reading:
            return True
        if not self.strangers:
            return False
        if self.keyring is not None and upload is not None and not is_anonymous(upload.owner):
            return False
        if operation is O.DELETE:
            owned = upload is not None and upload.owner.startswith(PROVEN)
            return self.listing or not owned or (upload is not None and is_of(upload, who))
        mine = operation in _MINE and who.owns and who.claims is None
        return operation in _FREE or mine or (operation in _ALL and self.listing)

    def _by_token(
        self, who: Who, claims: Claims, operation: Operation, upload: Upload | None
    ) -> UploadError | None:
        rule = TABLE[operation]
        try:
            claims.check(self._now())
        except errors.TokenExpired as expired:
            if not (rule.late and self._is_in_time(who, claims, upload)):
                return expired
        if Scope.ADMIN in claims.scopes:
            return None
        if claims.scopes.isdisjoint(rule.scopes):
            return insufficient(" or ".join(rule.scopes))
        if operation in _LINKS and (claims.upload or claims.key):
            return errors.Forbidden("a link makes no links", hint="ask whoever gave it to you")
        if rule.everybodys:
            return None if self.listing else _not_everybody()
        if upload is None:
            bound = claims.upload or (claims.key if operation is not O.CREATE else None)
            return _elses("this") if bound else None
        return None if _covers(who, claims, upload) else _elses(f"upload {upload.id}")

    def _is_in_time(self, who: Who, claims: Claims, upload: Upload | None) -> bool:
        """Whether *upload* was begun with the token, not long ago: by an administrator, too, and
        not by who has a link to it.
        """
        begun = claims.upload is None and (
            upload is None or (upload.created <= claims.expires and _covers(who, claims, upload))
        )
        return begun and self._now() < claims.expires + self._grace

    def _no_token(self, operation: Operation, upload: Upload | None) -> UploadError:
        if not self.strangers:
            return _token_needed()
        if operation in _MINE:
            return errors.Forbidden("mine needs a client id of 22 random characters, or a token")
        if operation in _ALL:
            return _not_everybody()
        return _elses(f"upload {upload.id}" if upload is not None else "this")


def _covers(who: Who, claims: Claims, upload: Upload) -> bool:
    """Whether *upload* is what the token is about."""
    if claims.upload is not None:
        return upload.id == claims.upload
    if claims.key is not None:
        return upload.owner == who.owner and upload.key == claims.key
    return is_of(upload, who)


_WHERE_FROM: Final = (
    "Authorization: Bearer <token>; whoever runs this server makes one with: uploadd token new"
)


def _token_needed() -> UploadError:
    return errors.Unauthorised("a token is needed here", hint=_WHERE_FROM)


def _revoked() -> UploadError:
    """The refusal of a token that was taken back."""
    return errors.Unauthorised("the token was revoked", hint="ask whoever runs the server")


def _not_everybody() -> UploadError:
    return errors.Forbidden(
        "access.list lets nobody see everybody's uploads",
        hint="ask for your own: mine (of=mine at /api/uploads)",
    )


def _elses(what: str) -> UploadError:
    return errors.Forbidden(
        f"{what} belongs to somebody else", hint="the token, or the X-Client-Id, that began it"
    )


def ends(upload: Upload) -> Operation:
    """What ending *upload* is."""
    return O.DELETE if upload.state is State.PUBLISHED else O.CANCEL


# --- what the settings come to --------------------------------------------------------------------


def lists_everybody(
    setting: Literal["everybody", "nobody", "auto"],
    names: Collection[str],
    *,
    local: bool,
    tokens: bool = False,
) -> bool:
    """What *setting* comes to for a daemon that goes by *names*, too; *local*: only this computer
    can come.

    A daemon that has names is meant to be reached from elsewhere, if only through a proxy; one
    that knows *tokens* tells people apart.
    """
    alone = local and not names and not tokens
    return setting == "everybody" or (setting == "auto" and alone)


def takes_strangers(
    setting: Literal["yes", "no", "auto"], *, public: bool, tokens: bool
) -> bool | None:
    """Whether one may come without a token; None: nobody has said so, and everybody could.

    *public*: whether other computers can come by themselves; *tokens*: whether there is any way
    to have one.
    """
    if setting == "auto":
        return False if tokens else (None if public else True)
    return setting == "yes"
