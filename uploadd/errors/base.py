"""Where the tree of errors begins."""

from __future__ import annotations

from typing import ClassVar, Literal, Self, TypeAlias

GoneReason: TypeAlias = Literal["cancelled", "taken-over", "expired", "deleted", "lost", "failed"]


class UploadError(Exception):
    """What a peer can be told: a stable ``code``, what happened and why, and what to type.

    ``offset`` is the durable offset in bytes where the peer needs it to go on, else None.
    """

    code: ClassVar[str]
    default_hint: ClassVar[str | None] = None

    def __init__(self, message: str, *, hint: str | None = None, offset: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint if hint is not None else self.default_hint
        self.offset = offset

    def __copy__(self) -> Self:
        """One more of it, with an offset of its own: several peers may hear of one failure."""
        twin = type(self).__new__(type(self), *self.args)
        twin.__dict__.update(self.__dict__)
        twin.__cause__ = self.__cause__
        return twin


class ClientError(UploadError):
    """The peer asked for something that cannot be; asking again changes nothing."""

    code = "client-error"
