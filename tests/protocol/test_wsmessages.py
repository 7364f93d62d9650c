"""The text messages: what is written is read, and what is not a message is a Violation."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from uploadd.protocol import wsmessages as m
from uploadd.protocol.wsmessages import Digest, Violation, decode, encode

NATURALS = st.integers(0, m.MAX_INTEGER)
CLIENT_REFS = st.integers(0, m.MAX_CLIENT_REF)
REFS = st.integers(0, 2**32 - 1)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
IDS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30)
SECONDS = st.floats(0, allow_nan=False, allow_infinity=False)
DIGESTS = st.binary(min_size=32, max_size=32).map(lambda value: Digest("sha-256", value))
CANS = st.lists(TEXTS, max_size=3).map(tuple)


def maybe(some: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Some, or None."""
    return st.none() | some


def close_codes(text: str) -> set[int | None]:
    """What either end answers to *text*; None when it is a message."""
    codes: set[int | None] = set()
    for table in (m.FROM_CLIENT, m.FROM_SERVER):
        try:
            decode(text, table)
        except Violation as violation:
            codes.add(violation.close)
        else:
            codes.add(None)
    return codes


NAMES = st.lists(IDS, max_size=3).map(tuple)
SUBJECTS = NAMES | st.sampled_from(["mine", "all"])
LIMITS = st.builds(m.Limits, NATURALS, maybe(NATURALS), NATURALS, NATURALS, NATURALS)
FROM_CLIENT = st.one_of(
    st.builds(m.Hello, maybe(TEXTS), maybe(TEXTS), CANS, maybe(IDS)),
    st.builds(
        m.Begin,
        CLIENT_REFS,
        maybe(TEXTS),
        maybe(NATURALS),
        maybe(TEXTS),
        maybe(st.dictionaries(TEXTS, TEXTS, max_size=3)),
        maybe(DIGESTS),
        maybe(IDS),
        maybe(IDS),
    ),
    st.builds(m.Finish, CLIENT_REFS, maybe(NATURALS), maybe(DIGESTS)),
    st.builds(m.Cancel, CLIENT_REFS),
    st.builds(m.Watch, SUBJECTS),
    st.builds(m.Unwatch, maybe(SUBJECTS)),
    st.builds(m.Read, NAMES | st.just("all")),
    st.just(m.Drained()),
)
FROM_SERVER = st.one_of(
    st.builds(m.Welcome, TEXTS, TEXTS, CANS, LIMITS, TEXTS),
    st.builds(m.Ready, REFS, TEXTS, TEXTS, NATURALS, NATURALS),
    st.builds(m.Acked, REFS, NATURALS, NATURALS, NATURALS, maybe(NATURALS)),
    st.builds(m.Done, REFS, TEXTS, TEXTS, NATURALS, maybe(DIGESTS)),
    st.builds(m.Refused, TEXTS, TEXTS, st.booleans(), maybe(REFS), maybe(TEXTS), maybe(NATURALS)),
    st.builds(m.Gone, TEXTS, TEXTS, maybe(REFS), maybe(NATURALS)),
    st.builds(
        m.Progress,
        TEXTS,
        NATURALS,
        NATURALS,
        TEXTS,
        maybe(TEXTS),
        maybe(NATURALS),
        maybe(SECONDS),
        maybe(NATURALS),
        maybe(TEXTS),
    ),
    st.builds(m.Notice, TEXTS, TEXTS, TEXTS, SECONDS, maybe(TEXTS), maybe(NATURALS), maybe(TEXTS)),
    st.builds(m.Drain, SECONDS, SECONDS),
)


@given(FROM_CLIENT)
def test_every_message_of_a_client_is_read_as_it_was_written(message: m.Message) -> None:
    """The struct that one end writes is the event that the other end gets."""
    assert decode(encode(message), m.FROM_CLIENT) == message


@given(FROM_SERVER)
def test_every_message_of_a_server_is_read_as_it_was_written(message: m.Message) -> None:
    """Likewise."""
    assert decode(encode(message), m.FROM_SERVER) == message


@given(FROM_SERVER)
def test_members_that_are_none_are_left_out(message: m.Message) -> None:
    """But for welcome's limits, where null says that there is no limit."""
    members = json.loads(encode(message))
    members.pop("limits", None)
    assert None not in members.values()


@given(FROM_CLIENT, st.dictionaries(st.text("xyz", min_size=1), st.none() | st.integers()))
def test_unknown_members_are_ignored(message: m.Message, more: dict[str, object]) -> None:
    """So that a newer peer can say more."""
    text = json.dumps({**more, **json.loads(encode(message))})
    assert decode(text, m.FROM_CLIENT) == message


@given(FROM_CLIENT | FROM_SERVER, st.data())
def test_a_mutated_message_is_a_message_or_a_violation(
    message: m.Message, data: st.DataObject
) -> None:
    """Cut, doubled, replaced, or with something foreign in it: nothing else is raised."""
    text = encode(message)
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, len(text)))
    text = text[:start] + data.draw(st.text(max_size=8) | st.just(text)) + text[end:]
    assert close_codes(text) <= {4400, None}


@given(FROM_CLIENT | FROM_SERVER, st.data())
def test_a_member_of_another_kind_is_a_message_or_a_violation(
    message: m.Message, data: st.DataObject
) -> None:
    """Any JSON in the place of any member."""
    anything = st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
        max_leaves=5,
    )
    members = json.loads(encode(message))
    members[data.draw(st.sampled_from(sorted(members)))] = data.draw(anything)
    text = json.dumps(members, ensure_ascii=data.draw(st.booleans()))
    assert close_codes(text) <= {4400, None}


@given(st.text() | st.integers(1, 8000).map(lambda depth: '{"type":"hello","x":' + "[" * depth))
def test_any_text_is_a_violation(text: str) -> None:
    """Nothing else is raised, however deep it is."""
    assert close_codes(text) == {4400}


def test_deep_nesting_is_a_violation_whatever_the_stack() -> None:
    """Also when the caller has used up most of it."""

    def below(frames: int) -> None:
        if frames:
            below(frames - 1)
        else:
            with pytest.raises(Violation):
                decode('{"type":"hello","x":' + "[" * 800 + "]" * 800 + "}", m.FROM_CLIENT)

    below(500)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "sha-256",
        "sha-256=::",
        "sha-256=:AAAA",
        "sha-256=:AAA:",
        "sha-256=:" + "A" * 43 + ":",
        "sha-256=:" + "A" * 44 + ":",
        "SHA-256=:AAAA:",
        "md5=:AA==:, md5=:AA==:",
        "md5=:A A=:",
        None,
    ],
)
def test_what_is_not_a_digest_is_an_error(text: str | None) -> None:
    """One algorithm, its base64 exactly, its number of bytes."""
    with pytest.raises(ValueError, match=r"digest|bytes|padding|Padding|data"):
        Digest.parse(text)


def test_a_digest_of_another_algorithm_can_be_read() -> None:
    """So that the answer can be that it is not offered."""
    digest = Digest.parse("sha-512=:AAEC:")
    assert (digest.alg, digest.value, str(digest)) == ("sha-512", b"\0\1\2", "sha-512=:AAEC:")
    assert digest != Digest("sha-256", b"\0\1\2")
    assert len({digest, Digest.parse("sha-512=:AAEC:")}) == 1
    assert repr(digest) == "Digest('sha-512=:AAEC:')"
