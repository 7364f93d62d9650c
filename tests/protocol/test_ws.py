"""The server's side of uploadd.v1, rule by rule, as dialogues in the wire's own words."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable

import pytest

from uploadd import errors as e
from uploadd.protocol.ws import CAN, Dropped, Ended, Event, ServerSession
from uploadd.protocol.wschunks import Chunk, pack
from uploadd.protocol.wsmessages import (
    Begin,
    Cancel,
    Digest,
    Drained,
    Finish,
    Hello,
    Limits,
    Notice,
    Progress,
    Read,
    Unwatch,
    Watch,
    encode,
)
from uploadd.protocol.wsstates import LocalError, RefState, SessionState

LIMITS = Limits(max_chunk=100, max_length=None, initial=250, max_refs=4)
SHA = "sha-256=:" + "A" * 43 + "=:"


def say(server: ServerSession, **members: object) -> list[Event]:
    """The client says one text message."""
    return server.receive(json.dumps(members))


def send(server: ServerSession, ref: int, at: int, data: bytes, **flags: bool) -> list[Event]:
    """The client sends one chunk, with a good checksum."""
    return server.receive(pack(Chunk(ref, at, memoryview(data), crc32=zlib.crc32(data), **flags)))


def heard(server: ServerSession) -> list[dict[str, object]]:
    """What the client hears now."""
    return [json.loads(message) for message in server.messages()]


def one(server: ServerSession) -> dict[str, object]:
    """The only message that the client hears now."""
    (message,) = heard(server)
    return message


def tell(server: ServerSession, progress: Progress) -> None:
    """The shell says where an upload is."""
    server.progress(progress.upload, encode(progress))


def opened(*, anonymous: bool = False, limits: Limits = LIMITS) -> ServerSession:
    """A session after its welcome."""
    server = ServerSession(limits)
    say(server, type="hello")
    server.welcome("s1", "1.0", "durable", anonymous=anonymous)
    server.messages()
    return server


def ready(ref: int = 1, limit: int = 1000) -> ServerSession:
    """A session with one upload that is ready."""
    server = opened()
    say(server, type="begin", ref=ref, name="a")
    server.ready(ref, f"u{ref}", f"/f/u{ref}", 0, limit)
    server.messages()
    return server


def fails(server: ServerSession, code: int, error: str = "bad-message") -> bool:
    """Whether the session ended with *code*, after saying why, and hears nothing more."""
    *_, last = heard(server)
    assert (last["type"], last["code"], last["final"]) == ("error", error, True)
    assert "ref" not in last
    assert server.closing == (code, error)
    assert say(server, type="hello") == []
    assert not server.has_output
    return True


# --- opening --------------------------------------------------------------------------------


def test_a_session_opens_with_hello_and_welcome() -> None:
    """The shell looks at the token in between; welcome tells what may be used and how much."""
    server = ServerSession(LIMITS)
    events = say(server, type="hello", token="secret", client="test/1", can=["x"])
    assert events == [Hello("secret", "test/1", ("x",))]
    assert server.state is SessionState.GREETED
    server.welcome("s1", "1.0", "durable", anonymous=True)
    assert one(server) == {
        "type": "welcome",
        "session": "s1",
        "version": "1.0",
        "can": list(CAN),
        "limits": {
            "max_chunk": 100,
            "max_length": None,
            "initial": 250,
            "max_refs": 4,
            "max_watched": 1000,
        },
        "durability": "durable",
    }


def test_a_token_is_not_in_the_repr_of_hello() -> None:
    """Events may be logged; tokens may not."""
    (hello,) = say(ServerSession(LIMITS), type="hello", token="hunter2")
    assert "hunter2" not in repr(hello)


@pytest.mark.parametrize("kind", ["begin", "finish", "cancel", "drained", "fetch"])
def test_nothing_may_come_before_hello(kind: str) -> None:
    """Not even what is not offered."""
    server = ServerSession(LIMITS)
    assert say(server, type=kind, ref=1) == []
    assert fails(server, 4400)


def test_nothing_may_come_between_hello_and_welcome() -> None:
    """The limits are not known yet, nor who it is."""
    server = ServerSession(LIMITS)
    say(server, type="hello")
    assert say(server, type="begin", ref=1) == []
    assert fails(server, 4400)


def test_hello_comes_once() -> None:
    """A second one could be another person."""
    server = opened()
    assert say(server, type="hello") == []
    assert fails(server, 4400)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (e.Unauthorised("no such token"), 4401),
        (e.OriginNotAllowed("not from there"), 4403),
        (e.TooSlow("no hello in 5 s"), 4408),
        (e.TooMany("sessions"), 4429),
        (e.ServerBug("oops"), 4500),
    ],
)
def test_a_refused_session_says_why_and_closes_with_the_errors_code(
    error: e.UploadError, code: int
) -> None:
    """A browser sees nothing of a failed handshake; so what a user must know comes after it."""
    server = ServerSession(LIMITS)
    say(server, type="hello", token="x")
    server.fail(error)
    assert fails(server, code, error.code)


def test_our_inputs_are_too_late_without_harm_once_the_session_failed() -> None:
    """A commit may end, or an upload complete, while the session is being closed."""
    server = ready()
    server.fail(e.TooSlow("half a message for 30 s"))
    server.messages()
    server.ack(1, 1, 1, 1)
    server.done(1, "u1", "/f/u1", 1)
    server.gone(1, "u1", "expired", 0)
    server.refuse(1, e.NoSpace("full"))
    server.drain(1, 2)
    server.welcome("s", "1", "durable", anonymous=True)
    tell(server, Progress("u1", 0, 0, "receiving"))
    server.close()
    server.fail(e.ServerBug("again"))
    assert not server.has_output
    assert server.closing == (4408, "too-slow")


# --- an upload ------------------------------------------------------------------------------


def test_an_upload_from_begin_to_done() -> None:
    """The whole of it, with every member."""
    server = opened()
    events = say(
        server,
        type="begin",
        ref=7,
        name="holiday.mp4",
        length=6,
        media_type="video/mp4",
        metadata={"album": "sea"},
        digest=SHA,
        later="ignored",
    )
    digest = Digest("sha-256", bytes(32))
    assert events == [Begin(7, "holiday.mp4", 6, "video/mp4", {"album": "sea"}, digest)]
    server.ready(7, "abc", "/f/abc", 0, 1000)
    assert one(server) == {
        "type": "ready",
        "ref": 7,
        "upload": "abc",
        "url": "/f/abc",
        "offset": 0,
        "limit": 1000,
    }
    assert send(server, 7, 0, b"abc") == [Chunk(7, 0, memoryview(b"abc"), crc32=0x352441C2)]
    server.ack(7, 3, 0, 1000)
    assert one(server) == {"type": "ack", "ref": 7, "received": 3, "offset": 0, "limit": 1000}
    (chunk,) = send(server, 7, 3, b"def", last=True, flush=True)
    assert isinstance(chunk, Chunk)
    assert (bytes(chunk.data), chunk.end, chunk.last, chunk.flush) == (b"def", 6, True, True)
    assert server.state_of(7) is RefState.FINISHING
    server.done(7, "abc", "/f/abc/holiday.mp4", 6, digest)
    assert one(server) == {
        "type": "done",
        "ref": 7,
        "upload": "abc",
        "url": "/f/abc/holiday.mp4",
        "length": 6,
        "digest": SHA,
    }
    assert server.alive == 0


def test_finish_is_the_same_as_last() -> None:
    """It may tell the length and the digest that were not known at begin."""
    server = ready()
    assert say(server, type="finish", ref=1, length=0, digest=SHA) == [
        Finish(1, 0, Digest("sha-256", bytes(32)))
    ]
    assert server.state_of(1) is RefState.FINISHING


def test_an_empty_chunk_may_be_the_last() -> None:
    """It ends an upload whose length was not known."""
    server = ready()
    (chunk,) = send(server, 1, 5, b"", last=True)
    assert isinstance(chunk, Chunk)
    assert (chunk.at, chunk.end, chunk.last) == (5, 5, True)


def test_an_empty_chunk_that_is_not_the_last_fails_the_session() -> None:
    """It would be work without an effect."""
    server = ready()
    assert send(server, 1, 0, b"") == []
    assert fails(server, 4400)


def test_done_may_come_without_ready() -> None:
    """An upload that was published before is answered at once."""
    server = opened()
    say(server, type="begin", ref=1, upload="abc")
    server.done(1, "abc", "/f/abc", 9)
    assert one(server)["type"] == "done"


@pytest.mark.parametrize("after", ["chunk", "finish", "last", "begin"])
def test_nothing_but_cancel_follows_finish(after: str) -> None:
    """Whole is whole."""
    server = ready()
    say(server, type="finish", ref=1)
    if after == "chunk":
        assert send(server, 1, 0, b"x") == []
    elif after == "last":
        assert send(server, 1, 0, b"x", last=True) == []
    else:
        assert say(server, type=after, ref=1) == []
    assert fails(server, 4400)


def test_a_ref_that_is_alive_cannot_begin() -> None:
    """One upload per ref."""
    server = ready()
    assert say(server, type="begin", ref=1) == []
    assert fails(server, 4400)


def test_a_ref_can_be_used_again_after_its_last_word() -> None:
    """With the credit of a new upload."""
    server = ready()
    server.gone(1, "u1", "expired", 0)
    assert say(server, type="begin", ref=1) == [Begin(1)]
    assert len(send(server, 1, 150, bytes(100))) == 1
    (ended,) = send(server, 1, 250, b"x")
    assert isinstance(ended, Ended)
    assert isinstance(ended.error, e.CreditExceeded)


def test_what_is_said_of_a_ref_that_ended_is_dropped_in_silence() -> None:
    """The client could not know yet."""
    server = ready()
    server.gone(1, "u1", "taken-over", 40)
    assert one(server) == {
        "type": "gone",
        "ref": 1,
        "upload": "u1",
        "reason": "taken-over",
        "offset": 40,
    }
    assert send(server, 1, 40, b"x") == []
    assert send(server, 1, 41, b"x", last=True) == []
    assert say(server, type="finish", ref=1, digest="md5=:AA==:") == []
    assert say(server, type="cancel", ref=1) == []
    assert not server.has_output
    assert server.closing is None


def test_no_second_last_word_is_said() -> None:
    """Nor anything else: whatever the shell was doing when the ref ended comes too late."""
    server = ready()
    server.gone(1, "u1", "deleted", 0)
    server.messages()
    server.ack(1, 5, 5, 5)
    server.ready(1, "u1", "/f/u1", 0, 5)
    server.done(1, "u1", "/f/u1", 5)
    server.refuse(1, e.LengthExceeded("too long"))
    server.refuse(1, e.NoSpace("full"))
    server.gone(1, "u1", "lost", 0)
    assert not server.has_output


# --- acks -----------------------------------------------------------------------------------


def test_only_the_newest_ack_is_sent() -> None:
    """Acks are cumulative; a slow client gets fewer."""
    server = ready()
    for n in range(1, 50):
        server.ack(1, n, n - 1, 1000 + n)
    assert one(server) == {"type": "ack", "ref": 1, "received": 49, "offset": 48, "limit": 1049}
    assert not server.has_output


def test_acks_go_out_behind_everything_else() -> None:
    """So that ready comes before the acks of its ref, and no ack holds up a last word."""
    server = ready()
    server.ack(1, 5, 5, 1000)
    say(server, type="begin", ref=2)
    server.ready(2, "u2", "/f/u2", 0, 9)
    assert [message["type"] for message in heard(server)] == ["ready", "ack"]


@pytest.mark.parametrize("word", ["done", "final", "gone", "refuse", "cancel"])
def test_no_ack_follows_a_last_word_or_a_refusal(word: str) -> None:
    """An ack that waits is forgotten: what it said is in the word, or of no use."""
    server = ready()
    if word == "done":
        say(server, type="finish", ref=1)
    server.ack(1, 5, 5, 1000)
    if word == "done":
        server.done(1, "u1", "/f/u1", 5)
    elif word == "final":
        server.refuse(1, e.LengthExceeded("too long", offset=5))
    elif word == "gone":
        server.gone(1, "u1", "taken-over", 5)
    elif word == "refuse":
        server.refuse(1, e.OffsetMismatch("a gap", offset=5))
    else:
        assert say(server, type="cancel", ref=1) == [Cancel(1)]
    assert "ack" not in [message["type"] for message in heard(server)]


def test_an_offset_never_goes_back() -> None:
    """To tell a lower one would be a bug of ours, and is said to nobody."""
    server = ready()
    server.ack(1, 9, 9, 1000)
    with pytest.raises(LocalError, match="9 was told"):
        server.ack(1, 9, 8, 1000)
    assert one(server)["offset"] == 9


def test_a_new_max_chunk_is_told_once_with_the_next_ack() -> None:
    """And larger chunks, up to the largest ever told, are taken: they may be on their way."""
    server = ready()
    server.set_max_chunk(50)
    assert not server.has_output
    server.ack(1, 0, 0, 1000)
    assert one(server)["max_chunk"] == 50
    server.ack(1, 1, 0, 1000)
    assert "max_chunk" not in one(server)
    assert len(send(server, 1, 0, bytes(100))) == 1
    server.set_max_chunk(200)
    server.set_max_chunk(50)
    assert len(send(server, 1, 100, bytes(200))) == 1
    assert send(server, 1, 300, bytes(201)) == []
    assert fails(server, 1009)


# --- credit ---------------------------------------------------------------------------------


def test_a_new_upload_may_send_at_once_as_much_as_initial() -> None:
    """No round trip before the first byte."""
    server = opened()
    say(server, type="begin", ref=1)
    for at in (0, 100):
        assert len(send(server, 1, at, bytes(100))) == 1
    assert len(send(server, 1, 200, bytes(50))) == 1
    (ended,) = send(server, 1, 250, b"x")
    assert isinstance(ended, Ended)
    assert isinstance(ended.error, e.CreditExceeded)
    told = one(server)
    assert (told["code"], told["ref"], told["final"]) == ("credit-exceeded", 1, True)
    assert server.alive == 0


def test_an_upload_that_goes_on_has_no_credit_before_ready() -> None:
    """Its offset is not known before."""
    server = opened()
    say(server, type="begin", ref=1, upload="x")
    (ended,) = send(server, 1, 0, b"x")
    assert isinstance(ended, Ended)
    assert one(server)["code"] == "credit-exceeded"


def test_a_key_costs_no_round_trip() -> None:
    """Most keys are new; what a known one has further on, the shell says."""
    server = opened()
    say(server, type="begin", ref=1, key="k" * 22)
    (chunk,) = send(server, 1, 0, b"x")
    assert (chunk.ref, chunk.at) == (1, 0)
    assert not server.has_output


def test_a_chunk_must_end_at_or_below_the_limit() -> None:
    """One byte more ends that upload, with the durable offset, and no other."""
    server = ready(limit=300)
    say(server, type="begin", ref=2)
    server.ready(2, "u2", "/f/u2", 0, 300)
    assert len(send(server, 1, 200, bytes(100))) == 1
    server.ack(1, 300, 120, 350)
    assert len(send(server, 1, 300, bytes(50))) == 1
    server.messages()
    (ended,) = send(server, 1, 350, b"x")
    assert isinstance(ended, Ended)
    assert one(server)["offset"] == 120
    assert len(send(server, 2, 0, b"x")) == 1


def test_a_limit_never_goes_back() -> None:
    """Whatever the shell computes."""
    server = opened()
    say(server, type="begin", ref=1)
    server.ready(1, "u1", "/f/u1", 0, 100)
    assert one(server)["limit"] == 250
    server.ack(1, 0, 0, 90)
    assert one(server)["limit"] == 250


def test_a_position_is_not_compared_with_an_offset() -> None:
    """That is for upload.accept alone: ranges will come in any order."""
    server = ready()
    assert len(send(server, 1, 500, b"x")) == 1
    assert len(send(server, 1, 3, b"x")) == 1


# --- refusals that are not final ------------------------------------------------------------


def test_a_refused_ref_is_silent_until_it_begins_again() -> None:
    """Said once, with the durable offset; ready is the new start, with a credit of its own."""
    server = ready()
    send(server, 1, 0, bytes(100))
    server.refuse(1, e.OffsetMismatch("a gap", offset=60))
    assert one(server) == {
        "type": "error",
        "code": "offset-mismatch",
        "message": "a gap",
        "final": False,
        "ref": 1,
        "offset": 60,
    }
    assert send(server, 1, 100, bytes(100)) == []
    assert send(server, 1, 5000, bytes(100)) == []
    assert say(server, type="finish", ref=1) == []
    server.refuse(1, e.OffsetMismatch("a gap", offset=60))
    server.refuse(1, e.TooLarge("far"))
    server.ack(1, 200, 60, 9000)
    server.ready(1, "u1", "/f/u1", 0, 9000)
    server.gone(1, "u1", "expired", 60)
    assert not server.has_output
    assert say(server, type="begin", ref=1, upload="u1") == [Begin(1, upload="u1")]
    server.ready(1, "u1", "/f/u1", 60, 80)
    assert one(server)["limit"] == 80
    assert len(send(server, 1, 60, bytes(20))) == 1


def test_finishing_too_early_is_not_the_end() -> None:
    """error incomplete, and the client goes on from there."""
    server = ready()
    say(server, type="finish", ref=1, length=100)
    server.refuse(1, e.Incomplete("60 bytes are missing", offset=40))
    assert (one(server)["final"], server.state_of(1)) == (False, RefState.DROPPED)
    assert say(server, type="begin", ref=1, upload="u1") == [Begin(1, upload="u1")]


@pytest.mark.parametrize("is_ready", [True, False])
def test_a_damaged_chunk_drops_the_ref_and_no_other(is_ready: bool) -> None:
    """Nothing of it gets to the shell."""
    server = opened()
    for ref in (1, 2):
        say(server, type="begin", ref=ref)
        if is_ready:
            server.ready(ref, f"u{ref}", f"/f/u{ref}", 0, 1000)
    server.messages()
    bad = pack(Chunk(1, 0, memoryview(b"abd"), last=True, crc32=zlib.crc32(b"abc")))
    (dropped,) = server.receive(bad)
    assert isinstance(dropped, Dropped)
    assert isinstance(dropped.error, e.ChecksumMismatch)
    told = one(server)
    assert (told["code"], told["ref"], told["final"]) == ("checksum-mismatch", 1, False)
    assert told.get("offset") == (0 if is_ready else None)
    assert send(server, 1, 3, b"x") == []
    assert len(send(server, 2, 0, b"x")) == 1


def test_a_dropped_ref_can_be_cancelled() -> None:
    """Its last word comes as for any other."""
    server = ready()
    server.refuse(1, e.NoSpace("full", offset=0))
    server.messages()
    assert say(server, type="cancel", ref=1) == [Cancel(1)]
    server.gone(1, "u1", "cancelled", 0)
    assert one(server)["reason"] == "cancelled"


def test_between_cancel_and_the_last_word_nothing_is_said() -> None:
    """Nor may the client say anything more of it."""
    server = ready()
    assert say(server, type="cancel", ref=1) == [Cancel(1)]
    server.ack(1, 9, 9, 99)
    server.refuse(1, e.NoSpace("full"))
    server.ready(1, "u1", "/f/u1", 0, 99)
    assert not server.has_output
    send(server, 1, 0, b"x")
    assert fails(server, 4400)


# --- begins that are refused ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("members", "code"),
    [
        ({"start": 0}, "unsupported"),
        ({"end": 10}, "unsupported"),
        ({"ticket": "x"}, "unsupported"),
        ({"digest": "sha-512=:AA==:"}, "unsupported"),
        ({"key": "k" * 21}, "unsupported"),
    ],
)
def test_a_begin_that_is_not_offered_ends_that_ref_alone(
    members: dict[str, object], code: str
) -> None:
    """The shell never hears of it."""
    server = opened(anonymous=True)
    say(server, type="begin", ref=1)
    assert say(server, type="begin", ref=2, **members) == []
    told = one(server)
    assert (told["code"], told["ref"], told["final"]) == (code, 2, True)
    assert (server.state_of(1), server.state_of(2)) == (RefState.OPENING, RefState.ABSENT)


def test_reserved_members_that_are_null_are_not_set() -> None:
    """A client may write all its members out."""
    assert len(say(opened(), type="begin", ref=1, start=None, end=None, ticket=None)) == 1


def test_a_key_is_a_secret_only_for_the_anonymous() -> None:
    """The keys of an owner are looked up among the owner's."""
    assert len(say(opened(anonymous=True), type="begin", ref=1, key="k" * 22)) == 1
    assert len(say(opened(anonymous=False), type="begin", ref=1, key="k")) == 1


def test_a_finish_with_a_digest_that_is_not_offered_ends_the_ref() -> None:
    """And the shell lets go of the upload."""
    server = ready()
    (ended,) = say(server, type="finish", ref=1, digest="sha-512=:AA==:")
    assert isinstance(ended, Ended)
    assert (one(server)["code"], server.alive) == ("unsupported", 0)


def test_more_uploads_than_max_refs_are_refused_one_by_one() -> None:
    """The session goes on, and a place that becomes free can be taken."""
    server = opened()
    for ref in range(4):
        assert len(say(server, type="begin", ref=ref)) == 1
    assert say(server, type="begin", ref=4) == []
    told = one(server)
    assert (told["code"], told["ref"], told["final"]) == ("too-many", 4, True)
    server.gone(0, "u0", "expired", 0)
    assert len(say(server, type="begin", ref=4)) == 1


def test_a_dropped_ref_keeps_its_place() -> None:
    """Its next begin is not one too many."""
    server = opened()
    for ref in range(4):
        say(server, type="begin", ref=ref)
    server.refuse(2, e.NoSpace("full"))
    assert len(say(server, type="begin", ref=2, upload="u2")) == 1


# --- what is not offered, and what is not of the protocol -----------------------------------


@pytest.mark.parametrize("kind", ["fetch", "credit", "dance"])
def test_a_type_that_is_not_offered_is_answered_and_the_session_goes_on(kind: str) -> None:
    """The answer has no ref: it is not about the upload of that ref."""
    server = ready()
    assert say(server, type=kind, ref=1, uploads="mine") == []
    told = one(server)
    assert (told["type"], told["code"], told["final"]) == ("error", "unsupported", False)
    assert "ref" not in told
    assert kind in str(told["message"])
    assert kind not in CAN
    assert len(send(server, 1, 0, b"x")) == 1


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "[]",
        '"hello"',
        "{",
        '{"type":1}',
        '{"ref":1}',
        '{"type":"begin"}',
        '{"type":"begin","ref":-1}',
        '{"type":"begin","ref":2147483648}',
        '{"type":"begin","ref":1.5}',
        '{"type":"begin","ref":"1"}',
        '{"type":"begin","ref":1,"length":9007199254740992}',
        '{"type":"begin","ref":1,"length":-1}',
        '{"type":"begin","ref":1,"length":1e400}',
        '{"type":"begin","ref":1,"length":' + "9" * 5000 + "}",
        '{"type":"begin","ref":1,"metadata":{"a":1}}',
        '{"type":"begin","ref":1,"metadata":["a"]}',
        '{"type":"begin","ref":1,"digest":"sha-256"}',
        '{"type":"begin","ref":1,"digest":"sha-256=:AAAA:"}',
        '{"type":"begin","ref":1,"digest":7}',
        '{"type":"begin","ref":1,"upload":""}',
        '{"type":"begin","ref":1,"key":"' + "k" * 256 + '"}',
        '{"type":"begin","ref":1,"media_type":"' + "m" * 256 + '"}',
        '{"type":"begin","ref":1,"name":"' + "n" * 1025 + '"}',
        '{"type":"begin","ref":1,"name":"' + "\u00fc" * 513 + '"}',
        '{"type":"begin","ref":1,"name":"\\ud800"}',
        '{"type":"begin","ref":1,"name":"\ud800"}',
        '{"type":"begin","ref":1,"x":' + "[" * 8000,
        '{"type":"begin","ref":1,"x":' + "[" * 4000 + "]" * 4000 + "}",
        '{"type":"begin","ref":1,"x":NaN}',
        '{"type":"begin","ref":1}{"type":"begin","ref":2}',
        '{"type":"finish","ref":1,"length":"3"}',
        '{"type":"cancel"}',
    ],
)
def test_text_that_is_not_a_message_fails_the_session(text: str) -> None:
    """Bad members of a known type, bad JSON, and what is made to hurt a parser."""
    server = ready(ref=9)
    assert server.receive(text) == []
    assert fails(server, 4400)


def test_names_and_texts_may_be_as_long_as_told() -> None:
    """1024 bytes for a name, 8 KiB for a message."""
    server = opened()
    assert len(say(server, type="begin", ref=1, name="n" * 1024)) == 1
    text = '{"type":"begin","ref":2,"pad":""}'
    text = text[:-2] + "x" * (8192 - len(text)) + text[-2:]
    assert len(server.receive(text)) == 1
    assert server.receive(text + " ") == []
    assert fails(server, 1009)


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (b"", 1002),
        (bytes.fromhex("01000000 00000001 00000000 000000"), 1002),  # 15 bytes
        (bytes.fromhex("01010000 00000001 0000000000000000 000000"), 1002),  # half a checksum
        (bytes.fromhex("02000000 00000001 0000000000000000 61"), 1002),  # kind
        (bytes.fromhex("01080000 00000001 0000000000000000 61"), 1002),  # flag
        (bytes.fromhex("01000001 00000001 0000000000000000 61"), 1002),  # reserved
        (bytes.fromhex("01000000 80000001 0000000000000000 61"), 4400),  # ref of the server
        (bytes.fromhex("01000000 00000001 001fffffffffffff 61"), 4400),  # beyond 2^53-1
        (bytes.fromhex("01000000 00000001 ffffffffffffffff 61"), 4400),
        (bytes.fromhex("01000000 00000001 0000000000000000") + bytes(101), 1009),
    ],
)
def test_binary_that_is_not_a_chunk_fails_the_session(message: bytes, code: int) -> None:
    """Even for a ref that nobody knows: header and size are looked at first."""
    for server in (ready(ref=1), ready(ref=2)):
        assert server.receive(message) == []
        assert fails(server, code)


# --- drain ------------------------------------------------------------------------------------


def test_a_drain_keeps_what_runs_and_takes_nothing_new() -> None:
    """The client ends its message, answers, hears its last acks; then 1012."""
    server = ready()
    server.drain(2, 5)
    assert one(server) == {"type": "drain", "reconnect_after": 2.0, "deadline": 5.0}
    assert say(server, type="begin", ref=2) == []
    assert (one(server)["code"], server.alive) == ("draining", 1)
    assert len(send(server, 1, 0, b"x")) == 1
    assert say(server, type="drained") == [Drained()]
    server.ack(1, 1, 1, 1000)
    server.close(1012, "restart")
    assert one(server)["offset"] == 1
    assert server.closing == (1012, "restart")


def test_a_dropped_ref_ends_when_it_begins_again_while_draining() -> None:
    """The shell is told, since the ref was alive."""
    server = ready()
    server.refuse(1, e.OffsetMismatch("a gap", offset=0))
    server.drain(2, 5)
    (ended,) = say(server, type="begin", ref=1, upload="u1")
    assert isinstance(ended, Ended)
    assert isinstance(ended.error, e.Draining)
    assert (heard(server)[-1]["final"], server.alive) == (True, 0)


def test_nothing_may_come_after_drained() -> None:
    """It was the last word of the client."""
    server = ready()
    server.drain(2, 5)
    say(server, type="drained")
    assert send(server, 1, 0, b"x") == []
    assert fails(server, 4400)


def test_drained_answers_a_drain() -> None:
    """It means nothing otherwise."""
    server = ready()
    assert say(server, type="drained") == []
    assert fails(server, 4400)


@pytest.mark.parametrize("greeted", [True, False])
def test_a_session_that_is_not_open_has_nothing_to_drain(greeted: bool) -> None:
    """It ends at once with 4503."""
    server = ServerSession(LIMITS)
    if greeted:
        say(server, type="hello")
    server.drain(2, 5)
    assert fails(server, 4503, "draining")


# --- the rest -----------------------------------------------------------------------------------


def test_only_the_newest_progress_of_an_upload_is_sent() -> None:
    """Progress replaces progress; what is not known is left out."""
    server = opened()
    for n in range(9):
        tell(server, Progress("u1", n, n + 1, "receiving", "a", None, 7.5))
    tell(server, Progress("u2", 1, 1, "receiving"))
    first, second = heard(server)
    assert first == {
        "type": "progress",
        "upload": "u1",
        "offset": 8,
        "held": 9,
        "state": "receiving",
        "name": "a",
        "rate": 7.5,
    }
    assert second["upload"] == "u2"


def test_what_is_watched_is_asked_for_and_bounded() -> None:
    """One too many is refused and changes nothing; the same again is no more."""
    server = opened(limits=Limits(100, None, 250, 4, 2))
    assert say(server, type="watch", uploads=["a", "b"]) == [Watch(("a", "b"))]
    assert say(server, type="watch", uploads=["b"]) == [Watch(("b",))]
    assert say(server, type="watch", uploads=["c"]) == []
    told = one(server)
    assert (told["code"], told["final"], "ref" in told) == ("too-many", False, False)
    assert server.watched == {"a", "b"}
    assert say(server, type="unwatch", uploads=["a"]) == [Unwatch(("a",))]
    assert say(server, type="watch", uploads="all") == [Watch("all")]
    assert say(server, type="unwatch") == [Unwatch()]
    assert server.watched == set()
    assert say(server, type="read", notices="all") == [Read("all")]


def test_who_unwatches_does_not_hear_what_was_not_said_yet() -> None:
    """But for what is watched in another way."""
    server = opened()
    say(server, type="watch", uploads=["u1", "u2"])
    for id in ("u1", "u2"):
        tell(server, Progress(id, 0, 0, "receiving"))
    say(server, type="unwatch", uploads=["u1"])
    assert one(server)["upload"] == "u2"
    say(server, type="watch", uploads="mine")
    tell(server, Progress("u2", 0, 0, "receiving"))
    say(server, type="unwatch", uploads=["u2"])
    assert one(server)["upload"] == "u2"


def test_an_upload_that_is_gone_is_watched_no_more() -> None:
    """Its progress is not said behind it; a notice is, and an objection ends nothing."""
    server = opened()
    say(server, type="watch", uploads=["u1"])
    tell(server, Progress("u1", 0, 0, "receiving"))
    server.unwatched("u1", "cancelled")
    server.notice(Notice("n", "u1", "failed", 1.0))
    server.object(e.Forbidden("not for you"))
    gone, notice, error = heard(server)
    assert gone == {"type": "gone", "upload": "u1", "reason": "cancelled"}
    assert (notice["type"], notice["notice"]) == ("notice", "n")
    assert (error["code"], error["final"]) == ("forbidden", False)
    assert server.watched == set()
    assert server.closing is None


@pytest.mark.parametrize("uploads", [None, "some", [""], ["a" * 256], [1], {}])
def test_what_cannot_be_watched_is_not_of_the_protocol(uploads: object) -> None:
    """Nor is a watch of nothing said."""
    server = opened()
    assert say(server, type="watch", uploads=uploads) == []
    assert fails(server, 4400)


def test_the_last_acks_go_out_before_the_error_that_ends_the_session() -> None:
    """What was made durable is told, whatever comes then."""
    server = ready()
    server.ack(1, 5, 5, 1000)
    server.receive(b"")
    assert [message["type"] for message in heard(server)] == ["ack", "error"]


def test_an_error_is_said_in_a_text_that_any_peer_can_read() -> None:
    """At most 8 KiB, and UTF-8, whatever the file system put into it."""
    server = ready()
    server.refuse(1, e.NoSpace("\udcff\x01" * 9000, hint="\udcff\x01" * 9000, offset=3))
    (text,) = server.messages()
    assert len(text.encode()) < 8192
    assert json.loads(text)["message"].startswith("?\x01")


@pytest.mark.parametrize(
    "mistake",
    [
        lambda s: s.welcome("s", "1", "durable", anonymous=True),
        lambda s: s.ready(1, "u1", "/f/u1", 0, 1),
        lambda s: s.done(1, "u1", "/f/u1", 0),
        lambda s: s.ack(2, 0, 0, 0),
    ],
)
def test_our_own_mistakes_are_exceptions(mistake: Callable[[ServerSession], None]) -> None:
    """And nothing is said: welcome and ready twice, done before finish, ack before ready."""
    server = ready()
    say(server, type="begin", ref=2)
    with pytest.raises(LocalError):
        mistake(server)
    assert not server.has_output


def test_nothing_is_told_before_welcome() -> None:
    """A shell that speaks before it looked at the token has a bug."""
    with pytest.raises(LocalError):
        tell(ServerSession(LIMITS), Progress("u", 0, 0, "receiving"))


# --- bounds ---------------------------------------------------------------------------------


def test_a_hundred_thousand_begins_that_are_read_stay_bounded() -> None:
    """Each one too many is refused; no ref is remembered for it."""
    server = opened(limits=Limits(100, None, 250))
    begun = refused = 0
    for ref in range(100_000):
        begun += len(server.receive(f'{{"type":"begin","ref":{ref}}}'))
        refused += len(server.messages())
    assert (begun, refused, server.alive) == (256, 99_744, 256)
    assert server.closing is None


def test_a_hundred_thousand_begins_that_nobody_reads_the_answers_of_end_the_session() -> None:
    """A peer that makes us answer must read."""
    server = opened(limits=Limits(100, None, 250))
    for ref in range(100_000):
        server.receive(f'{{"type":"begin","ref":{ref}}}')
    assert len(server.messages()) < 1100
    assert server.closing == (4429, "too-many")
    assert server.alive == 0
