"""What a store promises.  Every store passes ``uploadd.testing.check_store``.

A store keeps the bytes of uploads that grow, by id, and publishes them under a path.  It knows
nothing of owners, sessions or the ledger.

* ``write`` puts bytes anywhere, in any order, one call at a time for an upload; when it returns
  they are in the page cache (a small upload that came whole: before the next flush returns).
* ``flush`` is the only thing that tells what is durable.  It looks at what is written *before*
  it flushes, so it never speaks of bytes that came while it ran.
* A failed flush is never tried again on the same data: the upload has *failed* in the store.
  Writes and flushes of it raise until ``rewind`` has thrown away all that was not durable.
* ``publish`` links what is held under a path that was free, never over something, and the name
  is durable when it returns.  Publishing again gives the same path.
* What the medium does to one upload leaves the others alone: per-upload errors are values in
  the answer.  What concerns all (a directory that cannot be synced) raises MediumFailed, and
  the daemon ends.

Cancellation: every call either did nothing or finished; what was written is counted.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, TypeAlias, runtime_checkable

from uploadd.errors import StoreError
from uploadd.protocol.extents import Extents
from uploadd.protocol.upload import Identity, Published

Bytes: TypeAlias = bytes | bytearray | memoryview


class MediumFailed(Exception):
    """The medium cannot be trusted any more; nothing but ending is right (fail-stop)."""


@dataclass(frozen=True, slots=True)
class Publication:
    """One upload to publish: every byte of it is durable."""

    id: str
    path: str
    """Where it should lie, below the root; a clash takes the next free name."""


class Store(Protocol):
    """Where bytes live."""

    grain: int
    """Bytes that become durable together: 1 for files, the part size for S3."""

    async def write(
        self,
        id: str,
        at: int,
        buffers: Sequence[Bytes],
        *,
        whole: bool = False,
        provisional: bool = False,
    ) -> None:
        """Write *buffers* one after another at position *at*, in bytes.

        *whole* says that these are all the bytes there will ever be: the store may then keep
        them nameless until they are published, and small ones in memory, which it bounds, until
        they are flushed; *buffers* must not change before.  What is *provisional* is neither
        flushed nor told before `confirm`.
        Raises NoSpace or StoreError: a prefix may have been written, and is counted.
        """

    def confirm(self, id: str) -> None:
        """What was written provisionally counts as written now."""

    async def discard(self, id: str, end: int) -> None:
        """Throw away what was written provisionally, which begins at *end*."""

    async def copy(self, source: str, start: int, end: int, id: str, at: int) -> None:
        """Write bytes [start, end) of the upload *source*, which grows, at position *at* of *id*.

        Raises NoSpace or StoreError, also when *source* has fewer; a prefix counts.
        """

    def unflushed(self, id: str) -> int:
        """How many bytes are written and not known to be durable."""

    def failed(self, id: str) -> bool:
        """Whether a flush of *id* failed, so that it must be rewound before it goes on."""

    def nameless(self, id: str) -> bool:
        """Whether its bytes would vanish in a crash however often they are flushed."""

    async def flush(
        self, ids: Sequence[str], publishing: Collection[str] = ()
    ) -> Mapping[str, Extents | StoreError]:
        """Make durable what is written now; say for each what newly is.

        Those in *publishing* are published next: they may stay nameless until then, and what is
        told of them counts as unflushed until they are.  Of the others, what is no whole part of
        `grain` bytes may wait for the rest of its part.
        """

    async def rewind(self, id: str, held: Extents) -> None:
        """Throw away everything beyond *held*, durably, and take writes again.

        No write or flush of *id* may be under way.
        Raises StoreError when the medium does not even do that; Lost bytes raise LookupError.
        """

    async def identities(self, ids: Sequence[str]) -> Mapping[str, Identity]:
        """What will identify each file once it is published (of those that exist)."""

    async def read(self, id: str, start: int, end: int) -> bytes:
        """Bytes [start, end) of an upload that grows, whether durable or not; as many as there
        are."""

    async def publish(self, wanted: Sequence[Publication]) -> Mapping[str, Published | StoreError]:
        """Link each under a free path; durable when it returns."""

    async def release(self, ids: Sequence[str]) -> None:
        """Let go of descriptors; the bytes stay."""

    async def remove(self, ids: Sequence[str]) -> None:
        """Remove the growing bytes (of a published upload: only their growing name)."""

    async def unpublish(self, published: Published, length: int) -> None:
        """Remove a published file, unless it was changed outside; durable when it returns."""

    async def recover(self, held: Mapping[str, Extents]) -> set[str]:
        """At start: cut each upload back to the end of what it holds, remove bytes of unknown
        uploads, and return the ids whose durable bytes the medium has lost.  Idempotent."""

    async def settle(
        self, wanted: Sequence[Publication], nameless: Mapping[str, Identity]
    ) -> Mapping[str, Published | StoreError | None]:
        """At start: roll intents forward; None where neither the bytes nor the file exist.

        *nameless* were without a name when they were intended.  Their bytes were never held: only
        a file that was published already can be left of them, and it is known by its identity.
        """

    async def open_published(self, published: Published, length: int) -> int:
        """A descriptor to read a published file; the caller closes it.

        Raises NotFound when the file is no longer the one that was published.
        """

    async def room(self) -> int:
        """Bytes that may still be stored."""

    async def aclose(self) -> None:
        """Let go of everything; nothing is flushed."""


class Pulled(NamedTuple):
    """How a pull ended."""

    moved: int
    """Bytes that are in the page cache now."""
    ended: bool = False
    """Nothing more will come: the peer has closed, or is gone."""
    error: OSError | None = None
    """What the disk said; of what was taken from the socket some may be lost."""
    seconds: float = 0.0
    """In which the bytes were written; in the others they were waited for."""


@runtime_checkable
class Pulls(Protocol):
    """A store with a way for bytes that does not lead through this process."""

    async def pull(
        self, id: str, socket: int, at: int, count: int, stop: Callable[[], bool]
    ) -> Pulled:
        """Move what the descriptor *socket* has, up to *count* bytes, to position *at*.

        Returns when it is empty for a moment or dribbles, has ended, or *stop*, which is called in
        a thread between steps of at most a mebibyte, says so.  Until then nobody closes *socket*.
        Raises NoSpace or StoreError: a prefix was written, and is counted; the rest of what was
        taken is lost, and the connection with it.
        """
