"""The daemon is killed, stopped and started while foreign clients upload to it.

Every client notes what it was told.  After a restart nothing of it may have been untrue: the
offset is at least the last one acknowledged, what was done is there, and every byte is the one
that was sent.
"""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Final
from urllib.request import urlopen

import pytest
import trio
from websockets.exceptions import WebSocketException
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from tests import wire
from tests.caller import Caller
from tests.e2e.daemon import Daemon

ROUNDS: Final = 50
PATIENCE: Final = 60.0
"""Seconds after which no more rounds are begun: other tests want the machine as well."""
ANSWER: Final = 30.0
AT_A_TIME: Final = 4
KIB: Final = 1024
STOP: Final = 6.0


# --- kill -9, at any moment -----------------------------------------------------------------------


@dataclass
class Upload:
    """What a client wants to be stored, and what it was told of it."""

    key: str
    content: bytes
    id: str | None = None
    acked: int = 0
    url: str | None = None
    """Told by done."""
    # Of this session only: where it sends, its credit, and whether it may or has ended.
    at: int = 0
    limit: int = 0
    ready: bool = False
    finished: bool = False


@dataclass
class Client:
    """Uploads over one session after the other; it is the oracle as well."""

    rng: random.Random
    uploads: list[Upload] = field(default_factory=list)

    @property
    def unfinished(self) -> list[Upload]:
        """Those of which nobody has said done."""
        return [upload for upload in self.uploads if upload.url is None]

    def converse(self, socket: ClientConnection, *, last: bool) -> None:
        """Upload until the connection is lost; the *last* time only what is not finished."""
        socket.send(json.dumps({"type": "hello"}))
        most = json.loads(socket.recv())["limits"]["max_chunk"]
        running: dict[int, Upload] = {}
        while self.unfinished or not last:
            while not last and len(self.unfinished) < AT_A_TIME:
                self.want()
            for upload in self.unfinished:
                if upload not in running.values():
                    ref = self.rng.getrandbits(31)
                    running[ref] = upload
                    self.begin(socket, ref, upload)
            moved = [self.send(socket, ref, upload, most) for ref, upload in running.items()]
            # Without credit for anything an answer must come: all else would be a deadlock.
            self.hear(socket, running, 0 if any(moved) else ANSWER)

    def want(self) -> None:
        """Want one more file to be stored."""
        size = self.rng.choice([0, 1, 50 * KIB, 700 * KIB, 3000 * KIB])
        key = f"{self.rng.getrandbits(160):040x}"
        self.uploads.append(Upload(key, self.rng.randbytes(size)))

    def begin(self, socket: ClientConnection, ref: int, upload: Upload) -> None:
        """Begin in this session: by the id, if it is known, or by the key."""
        upload.at = upload.limit = 0
        upload.ready = upload.finished = False
        members: dict[str, Any] = {"key": upload.key, "name": "x", "length": len(upload.content)}
        if upload.id is not None and self.rng.random() < 0.5:
            members = {"upload": upload.id}
        socket.send(json.dumps({"type": "begin", "ref": ref, **members}))

    def send(self, socket: ClientConnection, ref: int, upload: Upload, most: int) -> bool:
        """Send one chunk if there is credit for it; whether there was."""
        left = len(upload.content) - upload.at
        size = min(left, most, upload.limit - upload.at, self.rng.randrange(1, 200 * KIB))
        if not upload.ready or upload.finished or (left and not size):
            return False
        data = upload.content[upload.at : upload.at + size]
        upload.finished = size == left
        flush, crc32 = self.rng.random() < 0.3, True if self.rng.random() < 0.3 else None
        last = upload.finished
        socket.send(wire.chunk(ref, upload.at, data, last=last, flush=flush, crc32=crc32))
        upload.at += size
        return True

    def hear(self, socket: ClientConnection, running: dict[int, Upload], wait: float) -> None:
        """Note all that was said; wait for one message if need be."""
        with suppress(TimeoutError):
            while True:
                self.note(running, json.loads(socket.recv(timeout=wait)))
                wait = 0
        assert not wait, f"no answer for {wait} s"

    def note(self, running: dict[int, Upload], told: dict[str, Any]) -> None:
        """Nothing may be said that contradicts what was said before."""
        upload = running[told["ref"]]
        match told["type"]:
            case "ready":
                assert upload.id in (None, told["upload"])
                assert told["offset"] >= upload.acked, (told, upload.acked)
                upload.id, upload.acked = told["upload"], told["offset"]
                upload.at, upload.limit, upload.ready = told["offset"], told["limit"], True
            case "ack":
                assert upload.acked <= told["offset"] <= told["received"] <= upload.at
                upload.acked, upload.limit = told["offset"], told["limit"]
            case "done":
                assert upload.id in (None, told["upload"])
                assert told["length"] == len(upload.content)
                upload.id, upload.url = told["upload"], told["url"]
                del running[told["ref"]]
            case _:
                raise AssertionError(told)

    def check_done(self, daemon: Daemon, most: int) -> None:
        """What was done is served, whole; look at *most* of it."""
        done = [upload for upload in self.uploads if upload.url is not None]
        for upload in self.rng.sample(done, min(most, len(done))):
            assert fetch(daemon, str(upload.url)) == upload.content


def fetch(daemon: Daemon, url: str) -> bytes:
    """The file under *url*."""
    with urlopen(daemon.url + url) as answer:
        body: bytes = answer.read()
    return body


def open_session(daemon: Daemon) -> ClientConnection:
    """A WebSocket that speaks our protocol."""
    host, port = daemon.address
    ours = [Subprotocol("uploadd.v1")]
    return connect(f"ws://{host}:{port}/-/ws", subprotocols=ours, compression=None)


def kill_in_the_middle(daemon: Daemon, client: Client) -> None:
    """One life of the daemon, which ends at a random moment of a conversation."""
    daemon.start()
    client.check_done(daemon, 3)
    killer = threading.Timer(client.rng.uniform(0.0, 0.25), daemon.kill)
    killer.start()
    try:
        with suppress(WebSocketException, OSError, EOFError), open_session(daemon) as socket:
            client.converse(socket, last=False)
    finally:
        killer.join()


def test_kill_9_at_any_moment_loses_nothing_acknowledged(memory: Path) -> None:
    """Fifty times; who resumes is never told less, and what is done stays done."""
    seed = random.SystemRandom().getrandbits(32)
    print(f"seed: {seed}")
    client = Client(random.Random(seed))
    rounds, began = 0, time.monotonic()
    with Daemon(memory) as daemon:
        while rounds < ROUNDS and time.monotonic() - began < PATIENCE:
            kill_in_the_middle(daemon, client)
            rounds += 1
        print(f"{rounds} rounds, {len(client.uploads)} uploads")
        assert rounds >= 10, "the machine is far too slow for this test"
        assert len(client.uploads) > AT_A_TIME
        daemon.start()
        with open_session(daemon) as socket:
            client.converse(socket, last=True)
        client.check_done(daemon, len(client.uploads))
        assert daemon.terminate() == 0
    published = [path for path in memory.iterdir() if path.name != ".uploadd"]
    assert len(published) == len(client.uploads)
    assert list((memory / ".uploadd" / "growing").iterdir()) == []
    assert "Traceback" not in daemon.log, daemon.log


@pytest.mark.parametrize("size", [0, 1, 5 * 1024 * KIB])
def test_kill_9_right_behind_done(size: int, tmp_path: Path) -> None:
    """It had said that the file is there: it is, three times in a row."""
    with Daemon(tmp_path) as daemon:
        for number in range(3):
            daemon.start()
            client = Client(random.Random(number))
            client.uploads.append(Upload(f"{number:040}", client.rng.randbytes(size)))
            with suppress(WebSocketException), open_session(daemon) as socket:
                client.converse(socket, last=True)
                daemon.kill()
            daemon.start()
            client.check_done(daemon, 1)
            daemon.kill()
        assert "Traceback" not in daemon.log, daemon.log


# --- SIGTERM --------------------------------------------------------------------------------------


def content(ref: int, start: int, end: int) -> bytes:
    """What an upload without an end has there; the same nowhere in the others."""
    pattern, count = pattern_of(ref), end - start
    first = start % len(pattern)
    return (pattern * (count // len(pattern) + 2))[first : first + count]


@cache
def pattern_of(ref: int) -> bytes:
    return random.Random(ref).randbytes(64 * KIB + 1)


@dataclass
class Runner:
    """One session with five uploads that would never end."""

    caller: Caller
    obedient: bool
    """Whether it answers drain."""
    number: int
    ids: dict[int, str] = field(default_factory=dict)
    acked: dict[int, int] = field(default_factory=dict)
    sent: dict[int, int] = field(default_factory=dict)
    limit: dict[int, int] = field(default_factory=dict)
    under_way: trio.Event = field(default_factory=trio.Event)
    drained: trio.Event = field(default_factory=trio.Event)
    code: int = 0

    async def run(self) -> None:
        """Upload until the server says Close."""
        await self.caller.hello()
        async with trio.open_nursery() as nursery:
            for ref in range(5 * self.number, 5 * self.number + 5):
                self.sent[ref] = 0
                await self.caller.say(wire.text({"type": "begin", "ref": ref, "name": f"{ref}"}))
            nursery.start_soon(self.send)
            await self.hear()
            nursery.cancel_scope.cancel()

    async def send(self) -> None:
        with suppress(trio.BrokenResourceError):
            while not self.drained.is_set():
                for ref, at in self.sent.items():
                    end = at + 30_000
                    if end <= self.limit.get(ref, 0) and not self.drained.is_set():
                        data = content(ref, at, end)
                        await self.caller.say(wire.frame(wire.BINARY, wire.chunk(ref, at, data)))
                        self.sent[ref] = end
                await trio.lowlevel.checkpoint()
            await self.caller.say(wire.text({"type": "drained"}))

    async def hear(self) -> None:
        while (one := await self.caller.frame()).opcode != wire.CLOSE:
            told = json.loads(one.payload)
            if told["type"] == "drain":
                assert told["deadline"] <= STOP
                if self.obedient:
                    self.drained.set()
                continue
            assert told["type"] in ("ready", "ack")
            ref = told["ref"]
            self.ids.setdefault(ref, told.get("upload", ""))
            self.acked[ref], self.limit[ref] = told["offset"], told["limit"]
            if len(self.acked) == 5 and min(self.acked.values()) > 100_000:
                self.under_way.set()
        self.code = int.from_bytes(one.payload[:2], "big")


async def test_sigterm_ends_twenty_running_uploads_in_peace(tmp_path: Path) -> None:
    """All hear drain, keep what they sent, and are closed with 1012; then all go on."""
    with Daemon(tmp_path, "--set", f"timeouts.stop={STOP:g} s") as daemon:
        daemon.start()
        runners = []
        async with trio.open_nursery() as nursery:
            for number in range(4):
                caller = Caller(await trio.open_tcp_stream(*daemon.address))
                runners.append(Runner(caller, number != 3, number))
                nursery.start_soon(runners[-1].run)
            with trio.fail_after(PATIENCE):
                for runner in runners:
                    await runner.under_way.wait()
            began = trio.current_time()
            code = await trio.to_thread.run_sync(daemon.terminate)
            took = trio.current_time() - began
        assert code == 0
        assert took < STOP + 1
        assert [runner.code for runner in runners] == [1012] * 4
        for runner in runners:
            await runner.caller.stream.aclose()
            if runner.obedient:  # all it had sent was acknowledged before the Close
                assert runner.acked == runner.sent
        daemon.start()
        await resume(daemon, runners)
        assert daemon.terminate() == 0
        assert "Traceback" not in daemon.log, daemon.log


async def resume(daemon: Daemon, runners: list[Runner]) -> None:
    """Go on with every upload in one session, and end it where it stands."""
    async with await trio.open_tcp_stream(*daemon.address) as stream:
        caller = Caller(stream)
        await caller.hello()
        for runner in runners:
            for ref, acked in runner.acked.items():
                said = {"type": "begin", "ref": ref, "upload": runner.ids[ref]}
                await caller.say(wire.text(said))
                ready = await caller.message()
                assert acked <= ready["offset"] <= runner.sent[ref]
                await caller.say(wire.text({"type": "finish", "ref": ref}))
                while (told := await caller.message())["type"] != "done":
                    assert told["type"] == "ack"
                stored = await trio.to_thread.run_sync(fetch, daemon, told["url"])
                assert stored == content(ref, 0, ready["offset"])
        await caller.say(wire.frame(wire.CLOSE, b"\x03\xe8"))
        await caller.close_code()


def test_a_second_signal_does_not_wait(tmp_path: Path) -> None:
    """Somebody is in a hurry: a client that never answers holds up nothing."""
    with Daemon(tmp_path, "--set", "timeouts.stop=1 h") as daemon:
        daemon.start()
        with suppress(WebSocketException), open_session(daemon) as socket:
            socket.send(json.dumps({"type": "hello"}))
            socket.send(json.dumps({"type": "begin", "ref": 1}))
            told = [json.loads(socket.recv())["type"] for _ in range(2)]
            assert told == ["welcome", "ready"]
            daemon.signal(signal.SIGTERM)
            assert json.loads(socket.recv())["type"] == "drain"
            assert daemon.terminate() == 0


# --- two of them ----------------------------------------------------------------------------------


def test_a_second_daemon_on_the_same_folder_refuses_to_start(tmp_path: Path) -> None:
    """With the reason, what helps, and 75; the first never notices, and when it is gone, it can."""
    with Daemon(tmp_path) as daemon:
        daemon.start()
        command = [sys.executable, "-m", "uploadd", "serve", str(tmp_path), "--port", "0"]
        second = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
        assert second.returncode == 75
        first, hint = second.stderr.splitlines()[-2:]
        assert first == f"{tmp_path} is served by another uploadd (pid {daemon.pid})"
        assert hint.startswith("→ ")
        assert "Traceback" not in second.stderr
        assert b"uploadd" in fetch(daemon, "/")
        daemon.kill()
        daemon.start()
        assert b"uploadd" in fetch(daemon, "/")
