"""Requests as they pass a proxy: their heads, and where their bodies end."""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

import h11

END: Final = -1
"""Behind the whole body, and its answer is lost."""
ENDLESS: Final = 1 << 62
"""What follows an Upgrade is no request."""
How = Literal["FIN", "RST"]


class Seen(NamedTuple):
    """A request that has passed."""

    method: str
    """The one that is meant: also when POST only carries it."""
    target: str
    fields: dict[str, str]

    @property
    def has_body(self) -> bool:
        """Whether there is at least one byte of it."""
        length = self.fields.get("content-length", "0")
        return length != "0" or "transfer-encoding" in self.fields

    @property
    def offset(self) -> int:
        """Where it wants to go on."""
        return int(self.fields["upload-offset"])


class Cut(NamedTuple):
    """The connection ends after so many bytes of a body, or `END`."""

    after: int
    how: How


class Body:
    """How far a body of *seen* goes: told by its length, or by its chunks."""

    def __init__(self, seen: Seen, head: bytes) -> None:
        self._chunks: h11.Connection | None = None
        """What reads them, while they come."""
        self.left = int(seen.fields.get("content-length", "0"))
        self.content = 0
        """Bytes that it carried so far, without what frames them."""
        if "transfer-encoding" in seen.fields:
            self._chunks = h11.Connection(h11.SERVER)
            self._chunks.receive_data(head)
            self._chunks.next_event()
        elif "upgrade" in seen.fields:
            self.left = ENDLESS

    @property
    def goes_on(self) -> bool:
        """Whether there is more of it."""
        return self._chunks is not None or self.left > 0

    def take(self, data: bytes) -> int:
        """How many bytes of *data*, which comes next, belong to it."""
        if self._chunks is None:
            count = min(self.left, len(data))
            self.left -= count
            self.content += count
            return count
        self._chunks.receive_data(data)
        while (event := self._chunks.next_event()) is not h11.NEED_DATA:
            if isinstance(event, h11.Data):
                self.content += len(event.data)
            elif isinstance(event, h11.EndOfMessage):
                behind, _ = self._chunks.trailing_data
                self._chunks = None
                return len(data) - len(behind)
        return len(data)


def read(head: bytes) -> Seen:
    """What *head*, up to its empty line, says."""
    first, *lines = head.decode("latin-1").rstrip("\r\n").split("\r\n")
    method, target, _ = first.split(" ", 2)
    fields = {}
    for line in lines:
        name, _, value = line.partition(":")
        fields[name.lower()] = value.strip()
    return Seen(fields.get("x-http-method-override", method), target, fields)
