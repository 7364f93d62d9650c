"""Both machines of uploadd.v1 back to back, under everything that may happen in any order.

The shell and the store are bytearrays; the wire is two queues that are moved one message at a
time; a power cut loses the wire and every byte that is not durable.
"""

from __future__ import annotations

import json
from collections import deque
from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from uploadd import errors as e
from uploadd.protocol import ws, wsclient
from uploadd.protocol.ws import Dropped, Ended, ServerSession
from uploadd.protocol.wschunks import CRC32, Chunk
from uploadd.protocol.wsclient import ClientSession
from uploadd.protocol.wsmessages import (
    Acked,
    Begin,
    Cancel,
    Done,
    Drained,
    Finish,
    Gone,
    Hello,
    Limits,
    Progress,
    Ready,
    Refused,
    Unwatch,
    Watch,
    encode,
)
from uploadd.protocol.wsstates import RefState

CANCELLABLE = set(RefState) - {RefState.ABSENT, RefState.CANCELLING}
LIMITS = Limits(max_chunk=16, max_length=None, initial=24, max_refs=4, max_watched=3)
WINDOW = 40
REFS = range(6)  # two more than may be alive
RARELY = st.sampled_from([False] * 15 + [True])


def content(number: int) -> bytes:
    """The bytes of the client's file *number*; no two files have a byte in common in one place."""
    return bytes((at * 31 + number) % 256 for at in range(200))


@dataclass
class Upload:
    """What the store has of one upload."""

    id: str
    number: int  # of the client's file
    key: str | None
    written: bytearray = field(default_factory=bytearray)
    offset: int = 0
    state: str = "receiving"

    def flush(self) -> int:
        self.offset = len(self.written)
        return self.offset

    @property
    def limit(self) -> int:
        return min(self.offset + 2 * WINDOW, len(self.written) + WINDOW)


class Shell:
    """The least that a server does with its events.  Answers wait until a rule gives them."""

    def __init__(self, uploads: dict[str, Upload], session: ServerSession) -> None:
        self.uploads, self.session = uploads, session
        self.begun: dict[int, Begin] = {}
        self.runs: dict[int, Upload] = {}
        self.finishing: set[int] = set()
        self.cancelling: dict[int, Upload | None] = {}
        self.let_go: dict[int, Upload] = {}

    def hear(self, event: ws.Event) -> None:
        match event:
            case Hello():
                self.session.welcome("s", "1.0", "durable", anonymous=True)
            case Begin():
                self.begun[event.ref] = event
            case Chunk():
                self.answer(event.ref)
                if event.ref in self.runs:
                    self.take(event)
            case Finish():
                self.answer(event.ref)
                if event.ref in self.runs:
                    self.finish(event.ref, event.length)
            case Cancel():
                self.answer(event.ref)
                upload = self.release(event.ref)
                self.cancelling[event.ref] = upload or self.let_go.pop(event.ref, None)
            case Ended() | Dropped():
                self.release(event.ref)
            case Watch(uploads=ids):
                for id in ids:
                    self.show(id)
            case Unwatch():
                pass
            case Drained():
                for ref, upload in self.runs.items():
                    self.session.ack(ref, len(upload.written), upload.flush(), upload.limit)

    def show(self, id: str) -> None:
        """Where a watched upload is."""
        if id not in self.session.watched:
            return
        upload = self.uploads.get(id)
        if upload is None or upload.state == "gone":
            self.session.unwatched(id, "cancelled" if upload else "unknown")
        else:
            seen = Progress(id, upload.offset, upload.offset, upload.state)
            self.session.progress(id, encode(seen))

    def answer(self, ref: int) -> None:
        """Ready, done or gone: whatever the upload is."""
        begin = self.begun.pop(ref, None)
        if begin is None:
            return
        upload = self.find(begin)
        if upload is None or upload.state == "gone":
            self.session.refuse(ref, e.Gone("it was here", reason="expired"))
        elif upload.state == "complete":
            self.session.done(ref, upload.id, "/f", upload.offset)
        else:
            for other in [ref for ref, held in self.runs.items() if held is upload]:
                self.release(other)
                self.session.gone(other, upload.id, "taken-over", upload.flush())
            self.runs[ref] = upload
            self.session.ready(ref, upload.id, "/f", upload.flush(), upload.limit)

    def find(self, begin: Begin) -> Upload | None:
        if begin.upload is not None:
            return self.uploads.get(begin.upload)
        for upload in self.uploads.values():
            if begin.key is not None and upload.key == begin.key:
                return upload
        upload = Upload(f"u{len(self.uploads)}", int(begin.name or "0"), begin.key)
        self.uploads[upload.id] = upload
        return upload

    def release(self, ref: int) -> Upload | None:
        self.begun.pop(ref, None)
        self.finishing.discard(ref)
        upload = self.runs.pop(ref, None)
        if upload is not None:
            upload.flush()
            self.let_go[ref] = upload
        return upload

    def take(self, chunk: Chunk) -> None:
        upload = self.runs[chunk.ref]
        if chunk.at != len(upload.written):
            self.refuse(chunk.ref, e.OffsetMismatch("not there", offset=upload.flush()))
            return
        upload.written += chunk.data
        if chunk.flush:
            self.session.ack(chunk.ref, len(upload.written), upload.flush(), upload.limit)
        if chunk.last:
            self.finishing.add(chunk.ref)

    def finish(self, ref: int, length: int | None) -> None:
        upload = self.runs[ref]
        if length is not None and length != len(upload.written):
            self.refuse(ref, e.Incomplete("not yet", offset=upload.flush()))
        else:
            self.finishing.add(ref)

    def refuse(self, ref: int, error: e.UploadError) -> None:
        self.release(ref)
        self.session.refuse(ref, error)

    def complete(self, ref: int) -> None:
        upload = self.runs[ref]
        self.release(ref)
        upload.state = "complete"
        self.session.done(ref, upload.id, "/f", upload.offset)

    def carry_out_cancel(self, ref: int) -> None:
        upload = self.cancelling.pop(ref)
        if upload is None or upload.state != "receiving":
            self.session.refuse(ref, e.NotFound("nothing to cancel"))
            return
        for other in [ref for ref, held in self.runs.items() if held is upload]:
            self.release(other)
            self.session.gone(other, upload.id, "cancelled", upload.offset)
        upload.state = "gone"
        self.session.gone(ref, upload.id, "cancelled", upload.offset)


@dataclass
class Sending:
    """What the client knows of one ref."""

    number: int
    at: int = 0
    upload: str | None = None
    key: str | None = None
    waits: bool = False  # for the offset of ready


class BackToBack(RuleBasedStateMachine):
    """See the module."""

    def __init__(self) -> None:
        super().__init__()
        self.uploads: dict[str, Upload] = {}
        self.numbers = 0
        self.told: dict[str, int] = {}  # upload → newest durable offset the client heard
        self.connect()

    @initialize(keyed=st.booleans(), moved=st.booleans())
    def some_uploads(self, keyed: bool, moved: bool) -> None:
        """Begun for every walk: hypothesis leaves whole rules out of many of them."""
        for _ in range(3):
            self.begin(keyed)
        if moved:
            self.settle()
        for ref in self.sendable():
            self.send(ref, 10)

    def connect(self) -> None:
        self.client, self.server = ClientSession(), ServerSession(LIMITS)
        self.shell = Shell(self.uploads, self.server)
        self.to_server: deque[str | bytes] = deque()
        self.to_client: deque[str] = deque()
        self.sendings: dict[int, Sending] = {}
        self.limits: dict[int, int] = {}  # ref → newest limit said in this run
        self.speaking: dict[int, str] = {}  # ref → what the server may still say of it
        self.drained = False
        self.bars: dict[str, int] = {}  # upload → newest offset that a progress said
        self.client.hello()
        self.settle()

    # --- the wire -------------------------------------------------------------------------------

    def client_sends(self) -> None:
        self.to_server += self.client.messages()

    @precondition(lambda self: self.server.has_output)
    @rule()
    def server_sends(self) -> None:
        for text in self.server.messages():
            self.check_word(json.loads(text))
            self.to_client.append(text)

    @precondition(lambda self: self.to_server or self.client.has_output)
    @rule(count=st.integers(1, 12))
    def server_hears(self, count: int) -> None:
        self.client_sends()
        for _ in range(min(count, len(self.to_server))):
            self.server_receives()

    @precondition(lambda self: self.server.has_output or self.to_client)
    @rule(count=st.integers(1, 12), sends=st.booleans())
    def client_hears(self, count: int, sends: bool) -> None:
        if sends:
            self.server_sends()
        for _ in range(min(count, len(self.to_client))):
            self.client_receives()

    def check_word(self, said: dict[str, object]) -> None:
        """No word of a ref after its last one, none after a refusal, no limit that goes back."""
        ref = said.get("ref")
        if not isinstance(ref, int):
            too_many = said["type"] == "error" and said["code"] == "too-many"
            assert too_many or said["type"] in ("welcome", "drain", "progress", "gone")
            return
        is_last = said["type"] in ("done", "gone") or said.get("final") is True
        assert is_last or self.speaking.get(ref) == "anything", said
        assert said.get("code") not in ("bad-message", "credit-exceeded")
        if is_last:
            del self.speaking[ref]
        elif said["type"] == "error":
            self.speaking[ref] = "a last word"  # there may be a cancel
        if "limit" in said:
            assert said["limit"] >= self.limits.get(ref, 0)
            self.limits[ref] = said["limit"]

    def server_receives(self) -> None:
        message = self.to_server.popleft()
        if isinstance(message, str):
            said = json.loads(message)
            if said["type"] == "begin":
                self.speaking[said["ref"]] = "anything"
                self.limits.pop(said["ref"], None)
        for event in self.server.receive(message):
            self.shell.hear(event)

    def client_receives(self) -> None:
        for event in self.client.receive(self.to_client.popleft()):
            self.hear(event)

    def hear(self, event: wsclient.Event) -> None:
        match event:
            case Ready():
                sending = self.sendings[event.ref]
                sending.upload = event.upload
                sending.at = event.offset if sending.waits else sending.at
                sending.waits = False
                self.check_offset(event.upload, sending.number, event.offset)
            case Acked():
                sending = self.sendings[event.ref]
                assert sending.upload is not None
                self.check_offset(sending.upload, sending.number, event.offset)
            case Done():
                self.check_offset(event.upload, self.sendings.pop(event.ref).number, event.length)
                assert self.uploads[event.upload].state == "complete"
            case Progress():
                assert event.offset >= self.bars.get(event.upload, 0)
                assert event.offset <= self.uploads[event.upload].offset
                self.bars[event.upload] = event.offset
            case Gone(ref=None):
                held = self.uploads.get(event.upload)
                assert held is None or held.state == "gone"
                self.bars.pop(event.upload, None)
            case Refused(ref=None):
                assert (event.code, event.final) == ("too-many", False)
            case Gone(ref=int(ref)) | Refused(ref=int(ref), final=True):
                self.sendings.pop(ref)
            case Refused(ref=int(ref)) if self.sendings[ref].upload and event.offset is not None:
                self.check_offset(
                    self.sendings[ref].upload or "", self.sendings[ref].number, event.offset
                )

    def check_offset(self, upload: str, number: int, offset: int) -> None:
        """What is acknowledged is durable, is what was sent, and is never less than before."""
        held = self.uploads[upload]
        assert offset <= held.offset
        assert held.written[:offset] == content(number)[:offset]
        assert offset >= self.told.get(upload, 0) or held.state == "gone"
        self.told[upload] = offset

    # --- the client -----------------------------------------------------------------------------

    def refs(self, *states: RefState) -> list[int]:
        """The refs that are in one of *states* for the client, if it may speak at all."""
        return [] if self.drained else [ref for ref in REFS if self.client.state_of(ref) in states]

    def sendable(self) -> list[int]:
        open_refs = self.refs(RefState.OPENING, RefState.OPEN)
        return [ref for ref in open_refs if not self.sendings[ref].waits]

    @precondition(lambda self: self.refs(RefState.ABSENT))
    @rule(keyed=st.booleans())
    def begin(self, keyed: bool) -> None:
        ref = self.refs(RefState.ABSENT)[0]
        self.numbers += 1
        key = f"{self.numbers:022}" if keyed else None
        self.client.begin(ref, name=str(self.numbers), key=key)
        self.sendings[ref] = Sending(self.numbers, key=key, waits=keyed)

    @precondition(lambda self: self.told and self.refs(RefState.ABSENT))
    @rule(data=st.data())
    def resume(self, data: st.DataObject) -> None:
        """Any upload the client heard of: its own, one that another ref has, one that ended."""
        ref = self.refs(RefState.ABSENT)[0]
        upload = data.draw(st.sampled_from(sorted(self.told)))
        self.client.begin(ref, upload=upload)
        self.sendings[ref] = Sending(self.uploads[upload].number, upload=upload, waits=True)

    @precondition(lambda self: self.refs(RefState.DROPPED))
    @rule()
    def begin_again(self) -> None:
        """After a refusal: with the id, with the key, or as at first."""
        ref = self.refs(RefState.DROPPED)[0]
        was = self.sendings[ref]
        self.client.begin(ref, name=str(was.number), upload=was.upload, key=was.key)
        waits = was.upload is not None or was.key is not None
        self.sendings[ref] = Sending(was.number, 0, was.upload, was.key, waits)

    @precondition(lambda self: self.sendable())
    @rule(data=st.data(), sizes=st.lists(st.integers(1, 16), min_size=1, max_size=5))
    def stream(self, data: st.DataObject, sizes: list[int]) -> None:
        """What an upload mostly is: chunk after chunk."""
        ref = data.draw(st.sampled_from(self.sendable()))
        for size in sizes:
            self.send(ref, size)

    @precondition(lambda self: self.sendable())
    @rule(
        data=st.data(),
        size=st.integers(0, 16),
        how=st.sampled_from(["", "", "gap", "damaged"]),
        last=st.booleans(),
        flush=st.booleans(),
    )
    def chunk(self, data: st.DataObject, size: int, how: str, last: bool, flush: bool) -> None:
        self.send(data.draw(st.sampled_from(self.sendable())), size, how, last=last, flush=flush)

    def send(
        self, ref: int, size: int, how: str = "", *, last: bool = False, flush: bool = False
    ) -> None:
        sending = self.sendings[ref]
        at = sending.at + (how == "gap")
        size = min(size, self.client.max_chunk, self.client.credit(ref) - (at - sending.at))
        data = content(sending.number)[at : at + max(size, 0)]
        if size < 0 or not (data or last):
            return
        self.client_sends()
        self.client.chunk(ref, at, data, last=last, flush=flush, crc=how == "damaged")
        sending.at = at + len(data)
        (message,) = self.client.messages()
        if how == "damaged" and data:
            assert isinstance(message, bytes)
            assert message[1] & CRC32
            message = message[:-1] + bytes([message[-1] ^ 1])
        self.to_server.append(message)

    @precondition(lambda self: self.refs(RefState.OPENING, RefState.OPEN))
    @rule(data=st.data(), wrong=st.booleans())
    def finish(self, data: st.DataObject, wrong: bool) -> None:
        ref = data.draw(st.sampled_from(self.refs(RefState.OPENING, RefState.OPEN)))
        self.client.finish(ref, length=self.sendings[ref].at + wrong)

    @precondition(lambda self: self.refs(*CANCELLABLE))
    @rule(data=st.data(), sure=st.booleans())
    def cancel(self, data: st.DataObject, sure: bool) -> None:
        ref = data.draw(st.sampled_from(self.refs(*CANCELLABLE)))
        if sure:
            self.client.cancel(ref)

    @precondition(lambda self: not self.drained)
    @rule(data=st.data(), some=st.integers(0, 3))
    def watch(self, data: st.DataObject, some: int) -> None:
        """Those that the client has heard of, and one that nobody knows."""
        ids = [*sorted(self.told), "nobody's"]
        self.client.watch(data.draw(st.lists(st.sampled_from(ids), max_size=some)))

    @precondition(lambda self: not self.drained and self.client.watched)
    @rule(data=st.data(), everything=st.booleans())
    def unwatch(self, data: st.DataObject, everything: bool) -> None:
        ids = st.lists(st.sampled_from(sorted(self.client.watched)), max_size=2)
        self.client.unwatch(None if everything else data.draw(ids))

    @precondition(lambda self: self.server.watched)
    @rule()
    def shell_shows(self) -> None:
        for id in sorted(self.server.watched):
            self.shell.show(id)

    @precondition(lambda self: self.client.state == "DRAINING")
    @rule()
    def answer_drain(self) -> None:
        self.client.drained()
        self.drained = True

    # --- the server -----------------------------------------------------------------------------

    def held(self, data: st.DataObject) -> tuple[int, Upload]:
        return data.draw(st.sampled_from(sorted(self.shell.runs.items(), key=lambda run: run[0])))

    @precondition(lambda self: self.shell.begun)
    @rule()
    def shell_answers(self) -> None:
        for ref in list(self.shell.begun):
            self.shell.answer(ref)

    @precondition(lambda self: self.shell.runs)
    @rule(data=st.data(), flush=st.booleans())
    def shell_acks(self, data: st.DataObject, flush: bool) -> None:
        ref, upload = self.held(data)
        offset = upload.flush() if flush else upload.offset
        self.server.ack(ref, len(upload.written), offset, upload.limit)

    @precondition(lambda self: self.shell.finishing)
    @rule()
    def shell_completes(self) -> None:
        self.shell.complete(min(self.shell.finishing))

    @precondition(lambda self: self.shell.cancelling)
    @rule()
    def shell_cancels(self) -> None:
        self.shell.carry_out_cancel(min(self.shell.cancelling))

    @precondition(lambda self: self.shell.runs)
    @rule(data=st.data(), final=st.booleans(), sure=RARELY)
    def shell_fails(self, data: st.DataObject, final: bool, sure: bool) -> None:
        if sure:
            ref, upload = self.held(data)
            offset = upload.flush()
            error = e.ServerBug("a bug", offset=offset) if final else e.NoSpace("", offset=offset)
            self.shell.refuse(ref, error)

    @precondition(lambda self: self.shell.runs)
    @rule(data=st.data(), sure=RARELY)
    def upload_expires(self, data: st.DataObject, sure: bool) -> None:
        if sure:
            ref, upload = self.held(data)
            self.shell.release(ref)
            upload.state = "gone"
            self.server.gone(ref, upload.id, "expired", upload.offset)

    @precondition(lambda self: self.shell.runs)
    @rule(size=st.integers(4, 16))
    def max_chunk_changes(self, size: int) -> None:
        self.server.set_max_chunk(size)

    @precondition(lambda self: self.told)
    @rule(sure=RARELY)
    def server_drains(self, sure: bool) -> None:
        if sure:
            self.server.drain(1, 5)

    @precondition(lambda self: self.told)
    @rule(sure=RARELY)
    def power_is_cut(self, sure: bool) -> None:
        """The wire and what is not durable are lost; what was told is not."""
        if sure:
            for upload in self.uploads.values():
                del upload.written[upload.offset :]
            self.connect()

    # --- what always holds ------------------------------------------------------------------------

    @invariant()
    def no_honest_peer_is_failed(self) -> None:
        assert self.server.closing is None
        assert self.client.closing is None

    @invariant()
    def refs_are_bounded(self) -> None:
        assert self.server.alive <= LIMITS.max_refs

    @invariant()
    def the_client_knows_the_same_refs_as_its_machine(self) -> None:
        assert set(self.sendings) == {
            ref for ref in REFS if self.client.state_of(ref) is not RefState.ABSENT
        }

    def settle(self) -> None:
        """Move everything, and give every answer, until nothing happens any more."""
        for _ in range(1000):
            self.client_sends()
            self.server_sends()
            if self.to_server:
                self.server_receives()
            elif self.to_client:
                self.client_receives()
            elif self.shell.begun:
                self.shell_answers()
            elif self.shell.finishing:
                self.shell_completes()
            elif self.shell.cancelling:
                self.shell_cancels()
            else:
                return
        raise AssertionError("it never comes to rest")

    def teardown(self) -> None:
        """At rest both ends agree, and every upload has one answer that is waited for."""
        self.settle()
        if self.server.watched:
            self.shell_shows()
            self.settle()
        assert self.server.watched <= self.client.watched, "what was refused the client believes"
        for id in self.server.watched:
            assert self.bars[id] == self.uploads[id].offset
        for ref in REFS:
            assert self.client.state_of(ref) is self.server.state_of(ref)
            assert self.server.state_of(ref) in (RefState.ABSENT, RefState.OPEN, RefState.DROPPED)


BackToBack.TestCase.settings = settings(max_examples=150, stateful_step_count=60, deadline=None)
TestBackToBack = BackToBack.TestCase
