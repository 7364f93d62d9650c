"""What happens at start, before the first peer: one way for kill -9 and for power loss.

Every unfinished upload is cut back to what the ledger says it holds; what was being published
is rolled forward.  It can be killed anywhere and run again.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from uploadd.errors import StoreError
from uploadd.hooks import Hooks
from uploadd.ledger import Ledger
from uploadd.protocol.extents import NOTHING
from uploadd.protocol.upload import Input, Published, State, Upload
from uploadd.rows import Entries, row
from uploadd.store.contract import Publication, Store


@dataclass(slots=True)
class Report:
    """What recovery found, by upload id."""

    unfinished: list[str] = field(default_factory=list)
    published: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)


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
    report, entries = Report(), Entries()
    uploads = {upload.id: upload for upload, _ in await ledger.unfinished()}
    lost = await store.recover({upload.id: upload.held for upload in uploads.values()})
    intended = {
        u.id: u for u in uploads.values() if u.state is State.FINALIZING and u.id not in lost
    }
    outcome = await store.settle(
        [Publication(u.id, u.intent or u.id) for u in intended.values()],
        {u.id: u.identity for u in intended.values() if u.identity is not None and not u.held},
    )
    for upload in uploads.values():
        if upload.id in lost:
            _lose(upload)
        elif upload.id in intended:
            _roll(upload, outcome[upload.id])
        else:
            report.unfinished.append(upload.id)
            continue
        if upload.state is State.LOST:
            upload.modified = now()
        entries.rows.append(row(upload, upload.held, ledger.boot))
        entries.note(upload, now())
        if hooks is not None:
            entries.events += hooks.events(upload, ended=upload.state is not State.RECEIVING)
        where = report.published if upload.state is State.PUBLISHED else report.unfinished
        (report.lost if upload.state is State.LOST else where).append(upload.id)
    if entries:
        await ledger.commit(entries)
    await store.remove([*report.published, *report.lost])
    return report


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
