"""Somebody else who uploads, as much at a time as a test wants."""

from __future__ import annotations

from typing import Any
from urllib.request import Request, urlopen

from tests.e2e.daemon import Daemon

LENGTH = 3 << 20


class Sender:
    """Sends one upload over HTTP, as much of it at a time as it is told."""

    def __init__(self, daemon: Daemon, *, length: int = LENGTH, client: str | None = None) -> None:
        self._daemon, self._length, self._at = daemon, length, 0
        self._who = {"X-Client-Id": client} if client else {}
        answer = self._ask(
            "POST", "/files/", {"Upload-Length": str(length), "Upload-Metadata": "filename YQ=="}
        )
        self.id = answer.headers["Location"].rpartition("/")[2]

    def send(self, count: int) -> None:
        """Send *count* bytes; they are durable afterwards, the last ones published."""
        told = {"Content-Type": "application/offset+octet-stream", "Upload-Offset": str(self._at)}
        self._ask("PATCH", f"/files/{self.id}", told, bytes(count))
        self._at += count

    def finish(self) -> None:
        """Send the rest."""
        self.send(self._length - self._at)

    def cancel(self) -> None:
        """Delete it."""
        self._ask("DELETE", f"/files/{self.id}", {})

    def _ask(self, method: str, path: str, fields: dict[str, str], body: bytes = b"") -> Any:
        fields = {"Tus-Resumable": "1.0.0"} | self._who | fields
        with urlopen(Request(self._daemon.url + path, body, fields, method=method)) as answer:
            return answer
