"""The client's side of uploadd.v1, rule by rule; the server's words are the wire's."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from uploadd.protocol.wschunks import Chunk, unpack
from uploadd.protocol.wsclient import ClientSession, Event
from uploadd.protocol.wsmessages import (
    Acked,
    Digest,
    Done,
    Drain,
    Gone,
    Limits,
    Notice,
    Progress,
    Ready,
    Refused,
    Welcome,
)
from uploadd.protocol.wsstates import LocalError, RefState, SessionState

LIMITS = {"max_chunk": 100, "max_length": None, "initial": 250, "max_refs": 4}
WELCOME = {
    "type": "welcome",
    "session": "s1",
    "version": "1.0",
    "can": ["crc32"],
    "limits": LIMITS,
    "durability": "durable",
}
DIGEST = Digest("sha-256", bytes(32))


def tell(client: ClientSession, kind: str, **members: object) -> list[Event]:
    """The server says one text message."""
    return client.receive(json.dumps({"type": kind, **members}))


def welcome(client: ClientSession) -> list[Event]:
    """The server welcomes."""
    return client.receive(json.dumps(WELCOME))


def opened() -> ClientSession:
    """A session after its welcome."""
    client = ClientSession()
    client.hello()
    welcome(client)
    client.messages()
    return client


def ready(limit: int = 1000, offset: int = 0) -> ClientSession:
    """A session with the upload u1 under ref 1."""
    client = opened()
    client.begin(1, name="a")
    tell(client, "ready", ref=1, upload="u1", url="/f/u1", offset=offset, limit=limit)
    client.messages()
    return client


def said(client: ClientSession) -> list[object]:
    """What the server hears now."""
    return [
        json.loads(message) if isinstance(message, str) else unpack(message)
        for message in client.messages()
    ]


def test_a_session_opens_with_hello_and_welcome() -> None:
    """What it may do is in welcome."""
    client = ClientSession(can=["x"])
    client.hello("secret", "test/1")
    assert said(client) == [{"type": "hello", "token": "secret", "client": "test/1", "can": ["x"]}]
    limits = Limits(100, None, 250, 4)
    assert welcome(client) == [Welcome("s1", "1.0", ("crc32",), limits, "durable")]
    assert (client.state, client.max_chunk, client.limits) == (SessionState.OPEN, 100, limits)


def test_an_upload_from_begin_to_done() -> None:
    """The whole of it, with every member."""
    client = opened()
    client.begin(
        7,
        name="holiday.mp4",
        length=6,
        media_type="video/mp4",
        metadata={"album": "sea"},
        digest=DIGEST,
    )
    client.chunk(7, 0, b"abc", crc=True)
    assert said(client) == [
        {
            "type": "begin",
            "ref": 7,
            "name": "holiday.mp4",
            "length": 6,
            "media_type": "video/mp4",
            "metadata": {"album": "sea"},
            "digest": str(DIGEST),
        },
        Chunk(7, 0, memoryview(b"abc"), crc32=0x352441C2),
    ]
    assert tell(client, "ready", ref=7, upload="abc", url="/f/abc", offset=0, limit=999) == [
        Ready(7, "abc", "/f/abc", 0, 999)
    ]
    assert tell(client, "ack", ref=7, received=3, offset=2, limit=1000) == [Acked(7, 3, 2, 1000)]
    client.chunk(7, 3, bytearray(b"def"), last=True, flush=True)
    assert said(client) == [Chunk(7, 3, memoryview(b"def"), last=True, flush=True)]
    assert client.state_of(7) is RefState.FINISHING
    assert tell(client, "done", ref=7, upload="abc", url="/f/abc", length=6) == [
        Done(7, "abc", "/f/abc", 6)
    ]
    assert client.alive == 0


def test_credit_is_what_may_still_be_sent() -> None:
    """initial before ready for a new upload, then up to the newest limit, and no more."""
    client = opened()
    assert client.credit(1) == 0
    client.begin(1)
    assert client.credit(1) == 250
    client.chunk(1, 0, bytes(100))
    client.chunk(1, 100, bytes(100))
    assert client.credit(1) == 50
    with pytest.raises(LocalError, match="the limit is 250"):
        client.chunk(1, 200, bytes(51))
    client.chunk(1, 200, bytes(50))
    tell(client, "ready", ref=1, upload="u1", url="/f/u1", offset=0, limit=260)
    assert client.credit(1) == 10
    tell(client, "ack", ref=1, received=250, offset=250, limit=250)
    assert client.credit(1) == 10
    client.finish(1)
    assert client.credit(1) == 0


def test_an_upload_that_goes_on_waits_for_ready() -> None:
    """And begins where the server says."""
    client = opened()
    client.begin(1, upload="u1", key="k" * 22)
    assert client.credit(1) == 0
    with pytest.raises(LocalError):
        client.chunk(1, 0, b"x")
    tell(client, "ready", ref=1, upload="u1", url="/f/u1", offset=500, limit=530)
    assert client.credit(1) == 30


def test_a_new_max_chunk_counts_at_once_even_for_a_ref_that_ended() -> None:
    """It is told once, in whatever ack comes next."""
    client = ready()
    tell(client, "ack", ref=99, received=0, offset=0, limit=0, max_chunk=10)
    assert client.max_chunk == 10
    with pytest.raises(LocalError, match="max_chunk is 10"):
        client.chunk(1, 0, bytes(11))
    client.chunk(1, 0, bytes(10))


def test_a_refusal_that_is_not_final_lets_the_ref_begin_again() -> None:
    """Until then nothing may be sent for it but cancel."""
    client = ready()
    assert tell(
        client, "error", ref=1, code="offset-mismatch", message="a gap", final=False, offset=60
    ) == [Refused("offset-mismatch", "a gap", False, 1, None, 60)]
    assert client.credit(1) == 0
    for mistake in (
        lambda: client.chunk(1, 60, b"x"),
        lambda: client.finish(1),
    ):
        with pytest.raises(LocalError, match="DROPPED"):
            mistake()
    client.begin(1, upload="u1")
    tell(client, "ready", ref=1, upload="u1", url="/f/u1", offset=60, limit=70)
    assert client.credit(1) == 10


@pytest.mark.parametrize(
    ("kind", "members"),
    [
        ("gone", {"upload": "u1", "reason": "taken-over", "offset": 5}),
        ("error", {"code": "length-exceeded", "message": "m", "final": True}),
    ],
)
def test_a_last_word_ends_the_ref(kind: str, members: dict[str, object]) -> None:
    """It may begin something else then."""
    client = ready()
    assert len(tell(client, kind, ref=1, **members)) == 1
    assert tell(client, kind, ref=1, **members) == []
    with pytest.raises(LocalError, match="ABSENT"):
        client.chunk(1, 0, b"x")
    client.begin(1)


def test_cancel_waits_for_the_last_word() -> None:
    """What was said before it arrived is still heard."""
    client = ready()
    client.cancel(1)
    assert said(client) == [{"type": "cancel", "ref": 1}]
    with pytest.raises(LocalError, match="CANCELLING"):
        client.chunk(1, 0, b"x")
    assert len(tell(client, "ack", ref=1, received=1, offset=1, limit=1)) == 1
    assert tell(client, "gone", ref=1, upload="u1", reason="cancelled", offset=1) == [
        Gone("u1", "cancelled", 1, 1)
    ]
    assert client.alive == 0


def test_a_drain_is_answered_when_the_message_is_ended() -> None:
    """What runs may end its message; after drained nothing is said, and acks still come."""
    client = ready()
    assert tell(client, "drain", reconnect_after=2, deadline=5) == [Drain(2.0, 5.0)]
    client.chunk(1, 0, b"x")
    client.drained()
    with pytest.raises(LocalError, match="DRAINED"):
        client.chunk(1, 1, b"x")
    assert len(tell(client, "ack", ref=1, received=1, offset=1, limit=9)) == 1


def test_a_final_error_without_a_ref_ends_the_session() -> None:
    """The server closes; nothing is heard or may be said any more."""
    client = ready()
    assert tell(client, "error", code="token", message="expired", final=True, hint="log in") == [
        Refused("token", "expired", True, None, "log in")
    ]
    assert client.deaf
    assert client.closing is None
    assert tell(client, "ack", ref=1, received=1, offset=1, limit=9) == []
    with pytest.raises(LocalError):
        client.chunk(1, 0, b"x")


def test_an_error_without_a_ref_that_is_not_final_ends_nothing() -> None:
    """Something was asked for that is not offered."""
    client = ready()
    assert len(tell(client, "error", code="unsupported", message="m", final=False)) == 1
    client.chunk(1, 0, b"x")


def test_what_is_unknown_is_ignored() -> None:
    """Types, members and refs: a newer server may say more."""
    client = ready()
    assert tell(client, "want", ref=2**31, start=0) == []
    assert tell(client, "ack", ref=2**31, received=0, offset=0, limit=0) == []
    assert tell(client, "gone", upload="other", reason="eaten") == [Gone("other", "eaten")]
    assert tell(client, "progress", upload="u1", offset=1, held=2, state="receiving", more=[]) == [
        Progress("u1", 1, 2, "receiving")
    ]
    client.chunk(1, 0, b"x")


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"binary",
        "",
        "{}",
        '{"type":"ready"}',
        '{"type":"ready","ref":1,"upload":"u","url":"/","offset":0,"limit":0}',
        '{"type":"ack","ref":1,"received":0,"offset":-1,"limit":0}',
        '{"type":"done","ref":1,"upload":"u1","url":"/f/u1","length":1}',
        '{"type":"ack","ref":1,"pad":' + "[" * 8000,
        json.dumps(WELCOME),
    ],
)
def test_a_server_that_breaks_the_protocol_ends_the_session(message: str | bytes) -> None:
    """With 4400: ready twice, done before finish, welcome twice, what is no message at all."""
    client = ready()
    assert client.receive(message) == []
    assert client.closing is not None
    assert client.closing[0] == 4400
    assert client.deaf


@given(st.text() | st.binary())
def test_garbage_never_raises(message: str | bytes) -> None:
    """Whatever the server is."""
    client = ready()
    client.receive(message)
    assert client.closing is not None


@pytest.mark.parametrize(
    "mistake",
    [
        lambda c: c.hello(),
        lambda c: c.drained(),
        lambda c: c.begin(1),
        lambda c: c.begin(-1),
        lambda c: c.begin(2**31),
        lambda c: c.begin(2, name="n" * 1025),
        lambda c: c.begin(2, name="\ud800"),
        lambda c: c.begin(2, media_type="\ud800"),
        lambda c: c.begin(2, length=2**53),
        lambda c: c.begin(2, metadata={"a": "x" * 9000}),
        lambda c: c.begin(2, upload=""),
        lambda c: c.chunk(1, 0, b""),
        lambda c: c.chunk(1, -1, b"x"),
        lambda c: c.chunk(1, 0, bytes(101)),
        lambda c: c.chunk(2, 0, b"x"),
        lambda c: c.chunk(2**40, 0, b"x"),
        lambda c: c.finish(2),
        lambda c: c.finish(1, length=-1),
        lambda c: c.cancel(2),
    ],
)
def test_our_own_mistakes_say_and_change_nothing(
    mistake: Callable[[ClientSession], None],
) -> None:
    """LocalError, and the session is as it was."""
    client = ready()
    with pytest.raises(LocalError):
        mistake(client)
    assert not client.has_output
    assert (client.alive, client.state_of(1), client.credit(1)) == (1, RefState.OPEN, 1000)


def test_nothing_may_be_said_before_welcome() -> None:
    """Its limits are not known, and hello comes first."""
    client = ClientSession()
    with pytest.raises(LocalError):
        client.begin(1)
    client.hello()
    with pytest.raises(LocalError):
        client.begin(1)


def test_closing_is_ours_to_choose() -> None:
    """Once; what is said after it is a mistake."""
    client = ready()
    client.close(1000, "bye")
    client.close(4000, "again")
    assert client.closing == (1000, "bye")
    with pytest.raises(LocalError, match="CLOSED"):
        client.finish(1)


def test_what_is_watched_is_what_was_asked_for_and_is_not_gone() -> None:
    """Ids and words; gone without a ref ends a watch, and whatever crosses is heard."""
    client = opened()
    client.watch(["u1", "u2"])
    client.watch("mine")
    client.unwatch(["u2"])
    client.read(["n1"])
    client.read("all")
    assert said(client) == [
        {"type": "watch", "uploads": ["u1", "u2"]},
        {"type": "watch", "uploads": "mine"},
        {"type": "unwatch", "uploads": ["u2"]},
        {"type": "read", "notices": ["n1"]},
        {"type": "read", "notices": "all"},
    ]
    assert client.watched == {"u1", "mine"}
    progress = {"upload": "u2", "offset": 1, "held": 2, "state": "receiving", "expected": 9}
    assert tell(client, "progress", **progress) == [Progress("u2", 1, 2, "receiving", expected=9)]
    assert tell(client, "gone", upload="u1", reason="expired") == [Gone("u1", "expired")]
    assert client.watched == {"mine"}
    told = tell(client, "notice", notice="n", upload="u", state="failed", at=1.5)
    assert told == [Notice("n", "u", "failed", 1.5)]
    client.unwatch()
    assert client.watched == set()
    assert said(client) == [{"type": "unwatch"}]


def test_who_one_is_is_said_in_hello_and_nothing_is_watched_before_it() -> None:
    """And nothing that the server would refuse."""
    client = ClientSession()
    with pytest.raises(LocalError):
        client.watch("all")
    client.hello(client_id="c" * 22)
    assert said(client) == [{"type": "hello", "client_id": "c" * 22}]
    welcome(client)
    for ask in (
        lambda: client.watch(["x" * 256]),
        lambda: client.watch([""]),
        lambda: client.unwatch(["x" * 9000]),
        lambda: client.read([""]),
    ):
        with pytest.raises(LocalError):
            ask()
    assert (client.watched, said(client)) == (set(), [])
