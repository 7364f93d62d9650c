"""A foreign client on one connection: asks by HTTP/1.1, opens a session, hears frames."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import h11
import trio

from tests import wire
from tests.wire import handshake


class Answer(NamedTuple):
    """What came back to one request."""

    status: int
    fields: dict[str, str]
    body: bytes

    @property
    def code(self) -> str:
        """The code of a problem document."""
        return str(json.loads(self.body)["code"])

    @property
    def closes(self) -> bool:
        """Whether the answer says that it is the last."""
        return self.fields.get("connection") == "close"


class Caller:
    """A client at the other end of *stream*; it waits for *patience* seconds for anything."""

    def __init__(self, stream: trio.abc.Stream, patience: float = 60.0) -> None:
        self.stream, self.patience = stream, patience
        self._unread = b""

    async def say(self, data: bytes) -> None:
        """Send *data*; it does not matter whether somebody is still there."""
        await self.stream.send_all(data)

    async def answer(self, method: str = "GET") -> Answer:
        """The next answer."""
        conn = h11.Connection(h11.CLIENT)
        conn.send(h11.Request(method=method, target="/", headers=[("Host", "x")]))
        conn.send(h11.EndOfMessage())
        if self._unread:
            conn.receive_data(self._unread)
        body, told = b"", None
        with trio.fail_after(self.patience):
            while not isinstance(event := conn.next_event(), h11.EndOfMessage):
                if event is h11.NEED_DATA:
                    conn.receive_data(bytes(await self.stream.receive_some(65536)))
                elif isinstance(event, h11.Response):
                    told = event
                elif isinstance(event, h11.Data):
                    body += event.data
        assert told is not None
        self._unread = conn.trailing_data[0]
        fields = {name.decode().lower(): value.decode() for name, value in told.headers}
        return Answer(told.status_code, fields, body)

    async def ask(self, data: bytes, method: str = "GET") -> Answer:
        """Send *data* and hear the next answer."""
        await self.say(data)
        return await self.answer(method)

    async def ended(self) -> bool:
        """Whether nothing more comes: waits until the connection ends or says something."""
        with trio.fail_after(self.patience):
            return not self._unread and not await self.stream.receive_some(9)

    async def upgraded(self, request: bytes = b"") -> dict[str, str]:
        """Do the handshake; the fields of the answer."""
        await self.say(request or handshake())
        told = b""
        with trio.fail_after(self.patience):
            while b"\r\n\r\n" not in told:
                data = await self.stream.receive_some(65536)
                assert data, told
                told += data
        first, _, rest = told.partition(b"\r\n\r\n")
        self._unread = rest
        lines = first.decode().split("\r\n")
        assert lines[0].startswith("HTTP/1.1 101 "), lines
        pairs = (line.split(": ", 1) for line in lines[1:])
        return {name.lower(): value for name, value in pairs}

    async def hello(self) -> dict[str, Any]:
        """Open a session; what the welcome says."""
        await self.upgraded()
        await self.say(wire.text({"type": "hello"}))
        return await self.message()

    async def frame(self) -> wire.Frame:
        """The next frame of a session."""
        with trio.fail_after(self.patience):
            while (found := wire.next_frame(self._unread)) is None:
                data = await self.stream.receive_some(65536)
                assert data, "the connection ended"
                self._unread += data
        self._unread = self._unread[found[0] :]
        return found[1]

    async def message(self) -> dict[str, Any]:
        """The next text message of a session."""
        one = await self.frame()
        assert one.opcode == wire.TEXT, one
        told: dict[str, Any] = json.loads(one.payload)
        return told

    async def close_code(self) -> int:
        """What the server's Close says; other frames before it are passed over."""
        while (one := await self.frame()).opcode != wire.CLOSE:
            pass
        return int.from_bytes(one.payload[:2], "big")
