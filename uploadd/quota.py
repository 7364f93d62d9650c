"""What each owner may have here, in bytes and uploads: reserved before the first byte comes.

Nothing here waits, so whoever asks has what it was told before anybody else can ask.  Whoever
comes without a token is one owner, all together: a name that anybody can make up bounds nobody.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from uploadd import errors
from uploadd.auth.who import is_anonymous
from uploadd.protocol.saying import size
from uploadd.protocol.upload import State, Upload


class Taken(NamedTuple):
    """What the ledger knows of one upload, or (without an id) of many that are complete."""

    owner: str
    bytes: int
    id: str | None = None
    uploads: int = 1


@dataclass(slots=True)
class _Account:
    uploads: int = 0
    bytes: int = 0


class Quota:
    """*most_bytes* and *most_uploads* of one owner; None: as many as there is room for.

    Counted also where nothing is bounded: a bound that comes later holds for what is here by then.
    """

    def __init__(self, most_bytes: int | None = None, most_uploads: int | None = None) -> None:
        self.adopt(most_bytes, most_uploads)
        self._accounts: dict[str, _Account] = {}
        self._reserved: dict[str, int] = {}  # of uploads that are not complete, by id

    def adopt(self, most_bytes: int | None, most_uploads: int | None) -> None:
        """Go by other bounds; who has more than that keeps it."""
        self.most_bytes, self.most_uploads = most_bytes, most_uploads

    def load(self, kept: Iterable[Taken]) -> None:
        """Count what is here already."""
        for one in kept:
            account = self._account(one.owner)
            account.uploads += one.uploads
            account.bytes += one.bytes
            if one.id is not None:
                self._reserved[one.id] = one.bytes

    def enter(self, upload: Upload) -> None:
        """Reserve a new *upload*, with its length if that is known.  Raises OverQuota."""
        account, most = self._account(upload.owner), self.most_uploads
        if most is not None and account.uploads >= most:
            raise errors.OverQuota(
                f"{account.uploads} uploads are kept for this owner, and at most {most} are",
                hint="delete one first, or ask whoever runs the server (limits.max_uploads)",
            )
        self._take(account, upload.length or 0)
        account.uploads += 1
        self._reserved[upload.id] = upload.length or 0

    def extend(self, upload: Upload, upto: int) -> None:
        """Reserve *upload* up to that byte, as its length is not known.  Raises OverQuota."""
        had = self._reserved.get(upload.id)
        if had is not None and upto > had:
            self._take(self._account(upload.owner), upto - had)
            self._reserved[upload.id] = upto

    def settle(self, upload: Upload) -> None:
        """*upload* is complete: it has its length, and is kept."""
        had = self._reserved.pop(upload.id, None)
        if had is not None:
            self._account(upload.owner).bytes += (upload.length or 0) - had

    def leave(self, upload: Upload) -> None:
        """*upload* is no more: its bytes are somebody else's."""
        had = self._reserved.pop(upload.id, None)
        account = self._account(upload.owner)
        account.uploads -= 1
        account.bytes -= (upload.length or 0) if had is None else had

    def moved(self, upload: Upload, *, ended: bool, held: bool) -> None:
        """*upload* may stand otherwise; *ended*: it is durably gone; *held*: somebody has it."""
        if ended:
            self.leave(upload)
        elif upload.state is State.PUBLISHED:
            self.settle(upload)
        elif not (upload.enrolled or held):  # nobody will ever find it
            self.forget(upload)

    def forget(self, upload: Upload) -> None:
        """*upload*, which nobody has remembered, is dropped.  Idempotent."""
        if upload.id in self._reserved:
            self.leave(upload)

    def used(self, owner: str) -> int:
        """Bytes of *owner*, reserved or here."""
        return self._account(owner).bytes

    @property
    def fullest(self) -> float | None:
        """How much of what it may have the owner with the largest share has; None: no limit."""
        most = [(self.most_bytes, [one.bytes for one in self._accounts.values()])]
        most += [(self.most_uploads, [one.uploads for one in self._accounts.values()])]
        return max((max(had, default=0) / limit for limit, had in most if limit), default=None)

    def left(self, owner: str) -> int | None:
        """Bytes that *owner* may still begin; None: no limit."""
        return None if self.most_bytes is None else max(0, self.most_bytes - self.used(owner))

    def _account(self, owner: str) -> _Account:
        return self._accounts.setdefault("" if is_anonymous(owner) else owner, _Account())

    def _take(self, account: _Account, count: int) -> None:
        if self.most_bytes is not None and account.bytes + count > self.most_bytes:
            left = max(0, self.most_bytes - account.bytes)
            raise errors.OverQuota(
                f"the upload needs {size(count)} more, and this owner has {size(left)} left of "
                f"{size(self.most_bytes)}"
            )
        account.bytes += count
