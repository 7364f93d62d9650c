"""What an operator has done by commands: the same by a daemon that runs, and without one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from uploadd.control import Verb
from uploadd.errors import BadRequest, NotFound
from uploadd.expiring import Expiring, Terms
from uploadd.outbox import Outbox
from uploadd.protocol.upload import State
from uploadd.uploads import Uploads
from uploadd.verifying import Verdict, Verifying, gone


def chores(uploads: Uploads, expiring: Expiring, terms: Callable[[], Terms]) -> Mapping[str, Verb]:
    """Every chore, by its name; *terms* are those that count at the moment."""
    outbox, verifying = Outbox(uploads.ledger), Verifying(uploads)

    async def retry(asked: Mapping[str, Any]) -> int:
        count = await outbox.retry(_texts(asked, "events"))
        uploads.hooks.wake()
        return count

    async def remove(asked: Mapping[str, Any]) -> str:
        [id] = _texts(asked, "uploads") or [""]
        upload = await uploads.find(id)
        if upload.state is State.PUBLISHED:
            await uploads.delete(upload)
        else:
            await uploads.cancel(upload)
        return upload.state.value

    async def collect(asked: Mapping[str, Any]) -> list[Any]:
        found = await expiring.old(terms())
        if not asked.get("dry"):
            await expiring.sweep(terms())
        return [one._asdict() for one in found]

    async def verify(asked: Mapping[str, Any]) -> list[Any]:
        ids = _texts(asked, "uploads") or []
        return [(await verify_one(id))._asdict() for id in ids]

    async def verify_one(id: str) -> Verdict:
        try:
            upload = await uploads.find(id)
        except NotFound as error:  # forgotten since it was listed, or never there
            return gone(id, error.message)
        return await verifying.verify(upload)

    return {"hooks retry": retry, "uploads rm": remove, "gc": collect, "verify": verify}


def _texts(asked: Mapping[str, Any], name: str) -> list[str] | None:
    found = asked.get(name)
    if found is None:
        return None
    if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
        raise BadRequest(f"{name} must be a list of texts")
    return found
