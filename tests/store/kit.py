"""What the tests of the store share."""

from __future__ import annotations

from uploadd.errors import StoreError
from uploadd.protocol.extents import NOTHING, Extents
from uploadd.protocol.upload import Published
from uploadd.store.contract import Publication, Store


async def told(store: Store, id: str) -> Extents | StoreError:
    """What a flush tells of one upload."""
    return (await store.flush([id])).get(id, NOTHING)


async def publish(store: Store, id: str, path: str, data: bytes = b"data") -> Published:
    """Have *data* published, in one go."""
    await store.write(id, 0, [data])
    assert await told(store, id) == NOTHING.add(0, len(data))
    published = (await store.publish([Publication(id, path)]))[id]
    assert isinstance(published, Published)
    return published
