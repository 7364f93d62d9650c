"""Peers of the driver that upload over HTTP, through the front door, in bodies for the kernel.

What they may be told of an upload while it grows is overheard; what is only asked for is written
down before, like everything in a history.
"""

from __future__ import annotations

import base64
import random
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Final

import h11
import trio

from tests.caller import Answer, Caller
from tests.e2e.oracle import History, content
from tests.wire import head
from uploadd.assembling import Assembling
from uploadd.budget import Budget
from uploadd.protocol.upload import Upload
from uploadd.serve.appending import LEAST_PULL
from uploadd.serve.connection import FrontDoor
from uploadd.serve.rules import Rules
from uploadd.uploads import Uploads

PEERS: Final = 4
SIZES: Final = (LEAST_PULL, 300_000, 1_500_000, 4_000_000)
GONE: Final = (
    *(trio.BrokenResourceError, trio.ClosedResourceError, OSError),
    h11.RemoteProtocolError,  # closed instead of answered
)
VERSION: Final = b"Tus-Resumable: 1.0.0"
CHUNK: Final = b"Content-Type: application/offset+octet-stream"


async def bodies(uploads: Uploads, history: History, seed: int) -> None:
    """Several peers for ever, each with bodies of any size, some of which are cut off."""
    door = FrontDoor(uploads, Assembling(uploads), Budget(64 << 20), Rules(), version="0")
    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    address = listener.socket.getsockname()
    uploads.create = _noted(uploads.create, history)  # type: ignore[method-assign]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(trio.serve_listeners, door.serve, [listener]))
        for number in range(PEERS):
            rng = random.Random(f"{seed}/http/{number}")
            nursery.start_soon(_peer, address, uploads, history, rng)


def _noted(create: Callable[..., Upload], history: History) -> Callable[..., Upload]:
    """Have the history say what was begun, before anybody can know of it."""

    def noted(**how: object) -> Upload:
        upload = create(**how)
        if upload.name is not None and upload.name.endswith(".http"):
            seed = int(upload.name.partition(".")[0])
            history.add("begun", upload.id, seed=seed, length=upload.length, name=upload.name)
        return upload

    return noted


async def _peer(
    address: tuple[str, int], uploads: Uploads, history: History, rng: random.Random
) -> None:
    while True:
        seed, length = rng.randrange(2**32), rng.randint(1, rng.choice(SIZES))
        with suppress(*GONE):  # an answer that never came: another upload, then
            async with await trio.open_tcp_stream(*address) as stream:
                target = await _created(Caller(stream), f"{seed}.http", length)
            if target:
                await _sent(address, uploads, history, target, content(seed, length), rng)


async def _created(caller: Caller, name: str, length: int) -> bytes:
    """The path of a new upload; empty when it was refused."""
    lines = (VERSION, b"Upload-Length: %d" % length, b"Upload-Metadata: filename " + _base64(name))
    answer = await _ask(caller, b"POST", b"/files/", *lines, b"Content-Length: 0")
    return answer.fields["location"].encode() if answer.status == 201 else b""


async def _sent(
    address: tuple[str, int],
    uploads: Uploads,
    history: History,
    target: bytes,
    data: bytes,
    rng: random.Random,
) -> None:
    """Bring the upload to its end, in bodies of which some are cut off, or give it up."""
    id = target.rpartition(b"/")[2].decode()
    history.add("completing", id)
    for _ in range(8):
        async with await trio.open_tcp_stream(*address) as stream:
            caller = Caller(stream)
            answer = await _ask(caller, b"HEAD", target, VERSION)
            if answer.status != 200:
                return
            at = int(answer.fields["upload-offset"])
            body = data[at : rng.choice((len(data), rng.randint(at, len(data))))]
            cut = rng.choice((0, 0, rng.randint(0, len(body))))
            lines = (VERSION, CHUNK, b"Upload-Offset: %d" % at)
            lines += (b"Content-Length: %d" % len(body),)
            said = head(*lines, method=b"PATCH", target=target, host=b"localhost")
            with suppress(*GONE):
                await caller.say(said + body[: len(body) - cut])
            if cut:
                continue  # the road ends here
            answer = await caller.answer("PATCH")
            if answer.status == 204 and at + len(body) == len(data):
                published = (await uploads.find(id)).published
                assert published is not None
                history.add("published", id, path=published.path)
                return


async def _ask(caller: Caller, method: bytes, target: bytes, *lines: bytes) -> Answer:
    said = head(*lines, method=method, target=target, host=b"localhost")
    return await caller.ask(said, method.decode())


def _base64(text: str) -> bytes:
    return base64.b64encode(text.encode())
