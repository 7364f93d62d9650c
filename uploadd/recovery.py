"""What happens at start, before the first peer: one way for kill -9 and for power loss.

Every unfinished upload is cut back to what the ledger says it holds; what was being published
is rolled forward, page after page: clients may have said a lot of each.  It can be killed anywhere
and run again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Final

from uploadd.errors import StoreError
from uploadd.hooks import Hooks
from uploadd.ledger import Ledger
from uploadd.protocol.extents import NOTHING
from uploadd.protocol.upload import Input, Published, State, Upload
from uploadd.rows import Entries, row
from uploadd.store.contract import Publication, Store

PAGE: Final = 64
"""Uploads whose rows are in memory at a time."""


@dataclass(slots=True)
class Report:
    """What recovery found, by upload id."""

    unfinished: list[str] = field(default_factory=list)
    published: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)

    def enter(self, upload: Upload) -> None:
        """*upload* stands so now."""
        found = {State.PUBLISHED: self.published, State.LOST: self.lost}
        found.get(upload.state, self.unfinished).append(upload.id)


async def recover(
    store: Store,
    ledger: Ledger,
    *,
    now: Callable[[], float] = time.time,
    hooks: Hooks | None = None,
) -> Report:
    """Bring store and ledger to one truth.  Raises MediumFailed or StoreError; then do not serve.

    Nothing that was acknowledged is given up, unless the medium has lost it: then the upload is
    lost for good (410), never shorter.  *hooks* will be told.
    """
    report, changing = Report(), list[str]()
    begun = await ledger.unfinished()
    lost = await store.recover({one.id: one.held for one in begun})
    for one in begun:
        changes = one.state is State.FINALIZING or one.id in lost
        (changing if changes else report.unfinished).append(one.id)
    for start in range(0, len(changing), PAGE):
        uploads = await ledger.find_all(changing[start : start + PAGE], "", [])
        await _settle(store, uploads, lost)
        entries = Entries()
        for upload in uploads:
            if upload.state is State.LOST:
                upload.modified = now()
            entries.rows.append(row(upload, upload.held, ledger.boot))
            entries.note(upload, now())
            if hooks is not None:
                entries.events += hooks.events(upload, ended=upload.state is not State.RECEIVING)
            report.enter(upload)
        await ledger.commit(entries)
        await store.remove([one.id for one in uploads if one.state is not State.RECEIVING])
        del uploads, entries  # before the next
    return report


async def _settle(store: Store, uploads: list[Upload], lost: Collection[str]) -> None:
    """Find out what has become of *uploads*, which are lost or were being published."""
    intended = [upload for upload in uploads if upload.id not in lost]
    outcome = await store.settle(
        [Publication(u.id, u.intent or u.id) for u in intended],
        {u.id: u.identity for u in intended if u.identity is not None and not u.held},
    )
    for upload in uploads:
        if upload.id in lost:
            _lose(upload)
        else:
            _roll(upload, outcome[upload.id])


def _roll(upload: Upload, found: Published | StoreError | None) -> None:
    """One intent, forward as far as it goes."""
    if isinstance(found, Published):
        upload.published, upload.identity = found, found.identity
        upload.hold(NOTHING.add(0, upload.length or 0))
        upload.move(Input.PUBLISH)
    elif found is None and upload.held:
        _lose(upload)
    else:
        # Without room, it is to be finished again.  Or it had no name, and vanished whole:
        # nobody was told of a single byte.
        upload.move(Input.REOPEN)


def _lose(upload: Upload) -> None:
    upload.move(Input.LOSE)
    upload.key = None
