"""Who asks, and what they may: the one place that says so.

Nobody is asked for a token yet.  Whoever knows an id (144 random bits) may look, go on and
cancel; a client that names itself by a secret owns what it begins.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from enum import Enum
from typing import Final, Literal

from uploadd.protocol.upload import State, Upload
from uploadd.protocol.wsbegin import MIN_ANONYMOUS_KEY

PROVEN: Final = "@"
"""What the owner begins with whose client id nobody guesses; other anonymous owners: ``?``."""


@dataclass(frozen=True, slots=True)
class Who:
    """Whoever asks; ``owner`` is kept with what they begin, empty for nobody in particular."""

    owner: str = ""

    @property
    def owns(self) -> bool:
        """Whether what carries the name is theirs, and not of somebody who guessed it."""
        return self.owner.startswith(PROVEN)


NOBODY: Final = Who()


class Operation(Enum):
    """What somebody may do or not."""

    WATCH = "look at an upload whose id is known, and be told of it"
    MINE = "see what one has begun"
    ALL = "see what everybody has"
    CANCEL = "end an upload that is not complete"
    DELETE = "remove a published file"


class Access:
    """What is permitted; *listing*: whether everybody may see what everybody has."""

    def __init__(self, *, listing: bool) -> None:
        self.listing = listing

    def may(self, who: Who, operation: Operation, upload: Upload | None = None) -> bool:
        """Whether *who* may do *operation*, on *upload* if it is about one."""
        match operation:
            case Operation.WATCH | Operation.CANCEL:
                return True  # the id is the permission
            case Operation.MINE:
                return who.owns
            case Operation.ALL:
                return self.listing
            case Operation.DELETE:
                owned = upload is not None and upload.owner.startswith(PROVEN)
                return self.listing or not owned or (upload is not None and is_of(upload, who))


def anonymous(client_id: str | None) -> Who:
    """Whoever calls itself *client_id*; only a hash of that is kept."""
    if not client_id:
        return NOBODY
    mark = PROVEN if len(client_id) >= MIN_ANONYMOUS_KEY else "?"
    hashed = hashlib.sha256(client_id.encode("utf-8", "surrogatepass")).digest()[:18]
    return Who(mark + base64.urlsafe_b64encode(hashed).decode("ascii"))


def is_of(upload: Upload, who: Who) -> bool:
    """Whether *who* has begun *upload*."""
    return bool(who.owner) and upload.owner == who.owner


def ends(upload: Upload) -> Operation:
    """What ending *upload* is."""
    return Operation.DELETE if upload.state is State.PUBLISHED else Operation.CANCEL


def lists_everybody(
    setting: Literal["everybody", "nobody", "auto"], names: Collection[str], *, local: bool
) -> bool:
    """What *setting* comes to for a daemon that goes by *names*, too; *local*: only this computer
    can come.

    A daemon that has names is meant to be reached from elsewhere, if only through a proxy.
    """
    return setting == "everybody" or (setting == "auto" and local and not names)
