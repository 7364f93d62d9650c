"""One connection among those that are counted: its sessions, its uploads, their pace."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from uploadd.measures import Measures, address_key, owner_key
from uploadd.pacing import Flow


class Guest:
    """Somebody at *address*, whom *measures* count; None: nobody is counted."""

    def __init__(self, measures: Measures | None, address: str = "") -> None:
        self._measures, self._address = measures, address
        self._places = ExitStack()

    def come(self) -> None:
        """Take a place among the sessions of this address.  Raises TooMany, TooOften."""
        if self._measures is not None:
            self._measures.request(self._address)
            self._places.enter_context(self._measures.session(address_key(self._address)))

    def count(self, owner: str) -> None:
        """Take a place among the sessions of *owner*, as who it has turned out.  Raises TooMany."""
        if self._measures is not None and (whose := owner_key(owner)):
            self._places.enter_context(self._measures.session(whose))

    @contextmanager
    def sending(self, owner: str) -> Iterator[Flow | None]:
        """While the block runs *owner* sends one more upload; its pace, where there is one.

        Raises TooMany, TooOften.
        """
        if self._measures is None:
            yield None
            return
        self._measures.request(self._address)
        with self._measures.upload(owner, self._address) as flow:
            yield flow if flow.bounded else None

    def close(self) -> None:
        """It is gone.  Idempotent."""
        self._places.close()
