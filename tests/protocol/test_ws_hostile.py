"""The server's machine before a peer that says anything: never an exception, never a neighbour."""

from __future__ import annotations

import json

from hypothesis import event, given
from hypothesis import strategies as st

from uploadd import errors as e
from uploadd.protocol.ws import ServerSession
from uploadd.protocol.wschunks import Chunk, pack
from uploadd.protocol.wsmessages import Limits
from uploadd.protocol.wsstates import RefState, SessionState

LIMITS = Limits(max_chunk=64, max_length=None, initial=100, max_refs=8)

# One ref in every state; a message about one of them must leave the others alone.
STATES = {
    1: RefState.OPENING,
    2: RefState.OPEN,
    3: RefState.FINISHING,
    4: RefState.DROPPED,
    5: RefState.CANCELLING,
    6: RefState.ABSENT,
}

ANYTHING = st.sampled_from(
    [None, True, -1, 1.5, 2**31, 2**53, "", "x", "k" * 22, [], [1], {}, {"a": 1}]
)
MEMBERS = st.fixed_dictionaries(
    {
        "type": st.sampled_from(
            ["hello", "begin", "finish", "cancel", "drained", "watch", "fetch", "credit", "zzz"]
        ),
        "ref": st.integers(1, 7),
    },
    optional={
        "upload": st.just("u") | ANYTHING,
        "key": st.just("k") | ANYTHING,
        "name": st.text(max_size=5) | ANYTHING,
        "length": st.integers(0, 500) | ANYTHING,
        "metadata": st.just({"a": "b"}) | ANYTHING,
        "digest": st.sampled_from(["sha-512=:AA==:", "sha-256=:AA==:"]) | ANYTHING,
        "start": ANYTHING,
        "ticket": ANYTHING,
    },
)
CHUNKS = st.builds(
    Chunk,
    ref=st.integers(1, 7),
    at=st.integers(0, 150),
    data=st.binary(max_size=70).map(memoryview),
    last=st.booleans(),
    flush=st.booleans(),
    crc32=st.sampled_from([None, None, 0]),
).map(pack)
MESSAGES = MEMBERS.map(json.dumps) | CHUNKS


@st.composite
def mutated(draw: st.DrawFn) -> str | bytes:
    """A valid message with a piece of it cut out, doubled or replaced."""
    message = draw(MESSAGES)
    start = draw(st.integers(0, len(message)))
    end = draw(st.integers(start, min(len(message), start + 12)))
    if isinstance(message, str):
        middle = draw(st.text(max_size=6) | st.just(message[start:end] * 2))
        return message[:start] + middle + message[end:]
    piece = draw(st.binary(max_size=6) | st.just(message[start:end] * 2))
    return message[:start] + piece + message[end:]


def in_every_state() -> ServerSession:
    """A session with one ref in every state."""
    server = ServerSession(LIMITS)
    server.receive('{"type":"hello"}')
    server.welcome("s", "1.0", "durable", anonymous=True)
    for ref in range(1, 6):
        server.receive(json.dumps({"type": "begin", "ref": ref}))
        if ref != 1:
            server.ready(ref, f"u{ref}", "/f", 0, 120)
    server.receive('{"type":"finish","ref":3}')
    server.refuse(4, e.OffsetMismatch("a gap", offset=0))
    server.receive('{"type":"cancel","ref":5}')
    server.messages()
    return server


def states(server: ServerSession) -> dict[int, RefState]:
    """Where the refs of *server* are."""
    return {ref: server.state_of(ref) for ref in STATES}


def test_the_session_of_these_tests_has_a_ref_in_every_state() -> None:
    """So that what follows is about all of them."""
    assert states(in_every_state()) == STATES
    assert set(STATES.values()) == set(RefState)


def about(message: str | bytes) -> int | None:
    """The ref that a well-formed *message* is about."""
    if isinstance(message, bytes):
        return int.from_bytes(message[4:8], "big")
    ref = json.loads(message).get("ref")
    return ref if isinstance(ref, int) else None


@given(MESSAGES)
def test_one_message_changes_no_other_ref(message: str | bytes) -> None:
    """Taken, refused or dropped: unless the session ends, only its own ref can have moved."""
    server = in_every_state()
    server.receive(message)
    if server.closing is not None:
        event(f"closed with {server.closing[0]}")
        return
    after = states(server)
    moved = {ref for ref in STATES if after[ref] is not STATES[ref]}
    event(f"moved {len(moved)}")
    assert moved <= {about(message)}
    for told in map(json.loads, server.messages()):
        assert told["type"] == "error"
        assert told.get("ref") in (None, about(message))


@given(st.lists(MESSAGES | mutated() | st.text() | st.binary(), max_size=30))
def test_whatever_is_received_is_never_an_exception(messages: list[str | bytes]) -> None:
    """And the session is open with bounded refs, or over with a code and a last error."""
    server = in_every_state()
    server.refused()
    said: list[dict[str, object]] = []
    for message in messages:
        over = server.closing is not None
        heard = server.receive(message)
        assert not (over and heard)
        said += map(json.loads, told := server.messages())
        errors = [one["code"] for one in map(json.loads, told) if one["type"] == "error"]
        assert errors == [error.code for error in server.refused()], "for the log, each once"
        assert server.alive <= LIMITS.max_refs
    if server.closing is None:
        event("open")
        assert server.state is SessionState.OPEN
    else:
        event(f"closed with {server.closing[0]}")
        assert server.closing[0] in (1002, 1009, 4400)
        assert "ref" not in said[-1]
        assert said[-1]["final"] is True


@given(st.lists(st.text() | st.binary() | MESSAGES, min_size=1, max_size=5))
def test_before_hello_nothing_else_is_an_exception_either(messages: list[str | bytes]) -> None:
    """The first message of a stranger."""
    server = ServerSession(LIMITS)
    for message in messages:
        server.receive(message)
    assert server.alive == 0
    assert server.closing or server.state is SessionState.GREETED


@given(st.lists(MESSAGES, max_size=40))
def test_no_ref_hears_two_last_words(messages: list[str | bytes]) -> None:
    """Between two last words of a ref there is a begin."""
    server = in_every_state()
    waiting = {ref for ref in STATES if STATES[ref] is not RefState.ABSENT}
    for message in messages:
        begun = isinstance(message, str) and json.loads(message)["type"] == "begin"
        server.receive(message)
        for told in map(json.loads, server.messages()):
            if "ref" in told and told["final"]:
                assert told["ref"] in waiting or (begun and told["ref"] == about(message))
                waiting.discard(told["ref"])
        if begun and server.state_of(about(message) or 0) is not RefState.ABSENT:
            waiting.add(about(message) or 0)
