"""Who asks: nobody in particular, a client that names itself by a secret, or a token's subject."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass, field
from typing import Final

from uploadd.protocol.tokens import Claims
from uploadd.protocol.upload import Upload
from uploadd.protocol.wsbegin import MIN_ANONYMOUS_KEY

PROVEN: Final = "@"
"""What the owner begins with whose client id nobody guesses."""
GUESSED: Final = "?"
"""What other anonymous owners begin with."""


@dataclass(slots=True, eq=False)
class Standing:
    """What vouches for a token: whether it still does, and all that vouch for *it*."""

    name: str = ""
    """The id of a token of ours."""
    of: tuple[Standing, ...] = ()
    _ended: bool = field(default=False, init=False)

    @property
    def good(self) -> bool:
        """Whether nothing of it was taken back."""
        return not self._ended and all(one.good for one in self.of)

    def end(self) -> None:
        """It was taken back."""
        self._ended = True


@dataclass(frozen=True, slots=True)
class Who:
    """Whoever asks; ``owner`` is kept with what they begin, empty for nobody in particular."""

    owner: str = ""
    claims: Claims | None = None
    """What their token says; None without."""
    standing: Standing | None = field(default=None, compare=False, repr=False)

    @property
    def owns(self) -> bool:
        """Whether what carries the name is theirs, and not of somebody who guessed it."""
        return is_proven(self.owner)

    @property
    def most(self) -> int | None:
        """The largest upload that their token is for, in bytes."""
        return None if self.claims is None else self.claims.max_length

    @property
    def revoked(self) -> bool:
        """Whether their token was good, and was taken back."""
        return self.standing is not None and not self.standing.good


NOBODY: Final = Who()


def anonymous(client_id: str | None) -> Who:
    """Whoever calls itself *client_id*; only a hash of that is kept."""
    if not client_id:
        return NOBODY
    mark = PROVEN if len(client_id) >= MIN_ANONYMOUS_KEY else GUESSED
    hashed = hashlib.sha256(client_id.encode("utf-8", "surrogatepass")).digest()[:18]
    return Who(mark + base64.urlsafe_b64encode(hashed).decode("ascii"))


def is_proven(owner: str) -> bool:
    """Whether nobody is *owner* who has only guessed the name."""
    return bool(owner) and not owner.startswith(GUESSED)


def is_anonymous(owner: str) -> bool:
    """Whether no token names *owner*."""
    return not owner or owner.startswith((PROVEN, GUESSED))


def is_of(upload: Upload, who: Who) -> bool:
    """Whether *who* has begun *upload*."""
    return bool(who.owner) and upload.owner == who.owner
