"""One GET over HTTP/1.1: trio moves the bytes, h11 understands them."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import unquote

import h11
import trio

from uploadd.client.address import Address, Stream, ended, speaks_tls, unavailable, wants_tls
from uploadd.protocol.names import sanitise

READ: Final = 256 << 10
SILENT_SECONDS: Final = 60.0
_RANGE = re.compile(r"bytes (?:([0-9]{1,18})-[0-9]{1,18}|\*)/([0-9]{1,18})")
_EXTENDED = re.compile(r"filename\*\s*=\s*utf-8'[^']*'([^;\s]+)", re.IGNORECASE)
_QUOTED = re.compile(r'filename\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^;\s"]+))', re.IGNORECASE)


class Response:
    """The head of an answer; its body is read through ``Exchange``."""

    def __init__(self, status: int, fields: dict[str, str]) -> None:
        self.status = status
        self._fields = fields

    def get(self, name: str) -> str | None:
        """The field *name* (lower case)."""
        return self._fields.get(name)

    @property
    def etag(self) -> str | None:
        """A strong validator, or none."""
        tag = self.get("etag")
        return tag if tag is not None and tag.startswith('"') else None

    @property
    def span(self) -> tuple[int | None, int | None]:
        """Where its body begins in the whole, and how long the whole is, as far as it is told."""
        if self.status in (206, 416):
            match = _RANGE.fullmatch(self.get("content-range") or "")
            if match is None:
                return None, None
            return (int(match[1]) if match[1] else None), int(match[2])
        length = self.get("content-length")
        return 0, int(length) if length is not None else None

    def file_name(self) -> str | None:
        """What Content-Disposition calls it (RFC 6266, 8187)."""
        told = self.get("content-disposition") or ""
        if match := _EXTENDED.search(told):
            return unquote(match[1])
        if match := _QUOTED.search(told):
            return re.sub(r"\\(.)", r"\1", match[1]) if match[1] is not None else match[2]
        return None


class Exchange:
    """One request and its answer over *stream*, which is used for nothing else."""

    def __init__(self, address: Address, stream: Stream) -> None:
        self._address = address
        self._stream = stream
        self._connection = h11.Connection(h11.CLIENT)
        self._begun = False  # whether anything of the answer came

    async def get(self, fields: list[tuple[str, str]]) -> Response:
        """Ask for it, with *fields* beside the usual ones.  Raises ServerUnavailable."""
        request = h11.Request(
            method="GET",
            target=self._address.path,
            headers=[
                ("Host", self._address.authority),
                ("User-Agent", "uploadd"),
                ("Accept-Encoding", "identity"),
                ("Connection", "close"),
                *fields,
            ],
        )
        out = (self._connection.send(request) or b"") + (
            self._connection.send(h11.EndOfMessage()) or b""
        )
        try:
            await self._stream.send_all(out)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise unavailable(self._address, "the connection ended") from error
        while True:
            event = await self._next()
            if isinstance(event, h11.Response):
                told = {
                    name.decode().lower(): value.decode("latin-1") for name, value in event.headers
                }
                return Response(event.status_code, told)

    async def read(self) -> bytes:
        """More of the body; empty at its end.  Raises ServerUnavailable when it ends before."""
        while True:
            event = await self._next()
            if isinstance(event, h11.Data):
                return bytes(event.data)
            if isinstance(event, h11.EndOfMessage):
                return b""

    async def read_all(self, limit: int) -> bytes:
        """The body, at most about *limit* bytes of it."""
        body = b""
        while len(body) < limit and (data := await self.read()):
            body += data
        return body

    async def _next(self) -> h11.Event:
        try:
            while (event := self._connection.next_event()) is h11.NEED_DATA:
                with trio.fail_after(SILENT_SECONDS):
                    data = await self._stream.receive_some(READ)
                if not self._begun and not self._address.secure and speaks_tls(data[:2]):
                    raise wants_tls(self._address)
                self._begun = self._begun or bool(data)
                self._connection.receive_data(bytes(data))
        except h11.RemoteProtocolError as error:
            if not self._begun:
                raise await ended(
                    self._address, "the connection ended without an answer"
                ) from error
            raise unavailable(self._address, "the answer ended early, or is no HTTP") from error
        except trio.TooSlowError as error:
            raise unavailable(self._address, f"not a byte for {SILENT_SECONDS:.0f} s") from error
        except trio.BrokenResourceError as error:
            raise unavailable(self._address, "the connection was lost") from error
        assert isinstance(event, h11.Event), event  # PAUSED comes only after the end
        return event


def name_in_url(address: Address) -> str:
    """What the end of the URL calls it, as a safe file name."""
    return sanitise(unquote(address.path.partition("?")[0].rpartition("/")[2]), "download")
