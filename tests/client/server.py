"""A server of uploadd.v1 in memory: the real machine, bytes in a dictionary, faults on demand."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import trio

from uploadd import errors as e
from uploadd.client.messages import ABNORMAL, Closed, Messages
from uploadd.client.nursery import open_plain_nursery
from uploadd.client.session import Client
from uploadd.protocol.ws import ServerSession
from uploadd.protocol.wschunks import Chunk
from uploadd.protocol.wsmessages import Begin, Digest, Drained, Finish, Hello, Limits


class Link:
    """A connection that breaks before its *breaks*-th message, counted in both directions."""

    def __init__(self, breaks: float = math.inf) -> None:
        self.breaks = breaks
        self.count = 0
        self.goodbye: tuple[int, str] = (ABNORMAL, "")
        self.deaf = False  # nothing comes through any more, and nobody says so
        to_server = trio.open_memory_channel[str | bytes](2)
        to_client = trio.open_memory_channel[str | bytes](math.inf)
        self.client = End(self, to_server[0], to_client[1])
        self.server = End(self, to_client[0], to_server[1])

    def cut(self) -> None:
        """Lose everything that is on its way."""
        for end in (self.client, self.server):
            end.output.close()
            end.input.close()


class End:
    """One end of a Link: the four methods."""

    def __init__(
        self,
        link: Link,
        output: trio.MemorySendChannel[str | bytes],
        input: trio.MemoryReceiveChannel[str | bytes],
    ) -> None:
        self.link, self.output, self.input = link, output, input

    async def receive(self) -> str | bytes:
        """The next message."""
        try:
            while True:
                message = await self.input.receive()
                if not self.link.deaf:
                    return message
        except (trio.EndOfChannel, trio.ClosedResourceError):
            raise Closed(*self.link.goodbye) from None

    async def send(self, message: str | bytes) -> None:
        """Count it, and pass it on or break."""
        if self.link.count >= self.link.breaks:
            self.link.cut()
        self.link.count += 1
        try:
            await self.output.send(message)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            raise Closed(*self.link.goodbye) from None

    async def ping(self) -> None:
        """Answered unless the link is deaf."""
        await trio.lowlevel.checkpoint()
        if self.link.deaf:
            await trio.sleep_forever()

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """What is on its way still arrives."""
        self.link.goodbye = (code, reason)
        self.output.close()
        self.input.close()


@dataclass(eq=False)
class Held:
    """An upload as this server has it."""

    id: str
    name: str | None
    length: int | None
    digest: Digest | None = None
    data: bytearray = field(default_factory=bytearray)
    durable: int = 0
    published: bool = False

    def lose(self) -> None:
        """The power fails: what is not durable is gone."""
        del self.data[self.durable :]


class Server:
    """*window*: credit beyond the durable offset; *lag*: bytes that may be waiting to be durable.

    *script* maps the number of a chunk, counted over all sessions, to what happens instead of
    taking it; *links* are the connections to come, further ones never break.
    """

    def __init__(
        self, *, max_chunk: int = 100, initial: int = 100, window: int = 300, lag: int = 150
    ) -> None:
        self.limits = Limits(max_chunk, None, initial)
        self.window, self.lag, self.max_chunk = window, lag, max_chunk
        self.links: list[Link] = []
        self.script: dict[int, Callable[[Conversation, Chunk], bool | None]] = {}
        self.refusals: list[e.UploadError] = []  # one for each begin to come
        self.refuse_session: e.UploadError | None = None
        self.say_ready = True
        self.uploads: dict[str, Held] = {}
        self.keys: dict[str, Held] = {}
        self.connects = 0
        self.greetings: list[float] = []  # when somebody said hello
        self.begins: list[tuple[float, Begin]] = []
        self.chunks: list[tuple[int, str, int, int]] = []  # connection, upload, from, to
        self.most_alive = 0
        self.drained = 0

    async def connect(self, nursery: trio.Nursery) -> Messages:
        """What the client is given to connect with."""
        link = self.links.pop(0) if self.links else Link()
        self.connects += 1
        nursery.start_soon(Conversation(self, link, self.connects).run)
        return link.client

    def published(self) -> list[Held]:
        """What is finished, in the order in which it began."""
        return [held for held in self.uploads.values() if held.published]

    def content(self) -> bytes:
        """The bytes of the one upload that is published."""
        [held] = self.published()
        return bytes(held.data)

    def sent(self) -> int:
        """How many bytes came in, also those that were lost again."""
        return sum(end - at for _, _, at, end in self.chunks)


class Conversation:
    """One session of the server; takes one message after the other, and answers it."""

    def __init__(self, server: Server, link: Link, number: int) -> None:
        self.server, self.link, self.number = server, link, number
        self.machine = ServerSession(server.limits)
        self.runs: dict[int, Held] = {}

    async def run(self) -> None:
        """Converse until the link breaks or is closed."""
        with suppress(Closed):
            while not self.machine.closing:
                message = await self.link.server.receive()
                for event in self.machine.receive(message):
                    self.handle(event)
                self.server.most_alive = max(self.server.most_alive, self.machine.alive)
                for out in self.machine.messages():
                    await self.link.server.send(out)
            await self.link.server.close(*self.machine.closing)
        for held in self.runs.values():
            held.lose()

    def handle(self, event: Any) -> None:
        """One event of the machine."""
        match event:
            case Hello():
                self.server.greetings.append(trio.current_time())
                if self.server.refuse_session is not None:
                    self.machine.fail(self.server.refuse_session)
                self.machine.welcome(str(self.number), "0", "durable", anonymous=True)
            case Begin():
                self.server.begins.append((trio.current_time(), event))
                self.begin(event)
            case Chunk():
                self.chunk(event)
            case Finish():
                self.finish(event.ref)
            case Drained():
                self.server.drained += 1
                for ref, held in self.runs.items():
                    held.durable = len(held.data)
                    self.ack(ref, held)
                self.machine.close(1012, "restarting")

    def begin(self, begin: Begin) -> None:
        """Find it, or make it."""
        server = self.server
        if server.refusals:
            self.machine.refuse(begin.ref, server.refusals.pop(0))
            return
        if begin.upload is not None and begin.upload not in server.uploads:
            self.machine.refuse(begin.ref, e.NotFound(f"there is no upload {begin.upload}"))
            return
        held = server.uploads.get(begin.upload or "") or server.keys.get(begin.key or "")
        if held is None:
            held = Held(f"u{len(server.uploads)}", begin.name, begin.length, begin.digest)
            server.uploads[held.id] = held
            if begin.key is not None:
                server.keys[begin.key] = held
        elif begin.key is not None:
            assert (held.name, held.length) == (begin.name, begin.length), "key-conflict"
        self.runs[begin.ref] = held
        if held.published:
            self.done(begin.ref, held)
        elif server.say_ready:
            held.lose()
            limit = held.durable + server.window
            self.machine.ready(begin.ref, held.id, f"/f/{held.id}", held.durable, limit)

    def chunk(self, chunk: Chunk) -> None:
        """Take it, if the script has nothing else."""
        server, held = self.server, self.runs[chunk.ref]
        assert chunk.at >= held.durable, "these bytes were durable already"
        server.chunks.append((self.number, held.id, chunk.at, chunk.end))
        act = server.script.get(len(server.chunks))
        if act is not None and not act(self, chunk):
            return
        assert chunk.at == len(held.data)
        held.data += chunk.data
        if chunk.last:
            self.finish(chunk.ref)
            return
        starved = held.durable + server.window - len(held.data) < server.max_chunk
        if len(held.data) - held.durable > server.lag or starved or chunk.flush:
            held.durable = len(held.data)
        if server.say_ready:
            self.ack(chunk.ref, held)

    def ack(self, ref: int, held: Held) -> None:
        """Say where it stands."""
        limit = held.durable + self.server.window
        self.machine.ack(ref, len(held.data), held.durable, limit)

    def finish(self, ref: int) -> None:
        """Publish it if it is whole."""
        held = self.runs[ref]
        held.durable = len(held.data)
        if held.length is not None and held.length != len(held.data):
            self.machine.refuse(ref, e.Incomplete("bytes are missing", offset=held.durable))
            return
        held.published = True
        self.done(ref, held)

    def done(self, ref: int, held: Held) -> None:
        """The last word."""
        self.machine.done(ref, held.id, f"/f/{held.id}", len(held.data), held.digest)
        self.runs.pop(ref)

    def cut(self) -> None:
        """Break the connection now."""
        self.link.cut()


@asynccontextmanager
async def client_of(server: Server, **options: Any) -> AsyncIterator[Client]:
    """A client of *server* whose backoff is the shortest that can be, unless told otherwise."""
    options.setdefault("chance", lambda: 0.0)
    async with open_plain_nursery() as nursery:
        client = Client("http://host.test/", server.connect, **options)
        nursery.start_soon(client.keep)
        yield client


class Pieces:
    """An async iterable that needs no thread, and may wait between its pieces."""

    def __init__(self, data: bytes, size: int = 70, seconds: float = 0.0) -> None:
        self._left = [data[at : at + size] for at in range(0, len(data), size)]
        self._seconds = seconds

    def __aiter__(self) -> Pieces:
        return self

    async def __anext__(self) -> bytes:
        await trio.sleep(self._seconds)
        if not self._left:
            raise StopAsyncIteration
        return self._left.pop(0)
