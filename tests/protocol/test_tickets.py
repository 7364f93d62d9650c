"""Tickets: nobody makes one without the key, nobody changes one."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from uploadd.errors import Unauthorised
from uploadd.protocol.tickets import PREFIX, Ticket, is_ticket, sign, verify
from uploadd.protocol.tokens import Scope

KEY, OTHER = b"k" * 32, b"o" * 32
SEND = Ticket("send", "t1", 1_800_000_000, owner="ana", max_length=10)
READ = Ticket("read", "u1", 1_800_000_000)


@given(
    st.builds(
        Ticket,
        st.sampled_from(["read", "send"]),
        st.text(min_size=1, max_size=64),
        st.integers(0, 2**40),
        st.sampled_from(["", "ana", "auth0|7", "@c2VjcmV0"]),
        st.none() | st.integers(0, 2**53),
    )
)
def test_what_was_signed_is_read_again(ticket: Ticket) -> None:
    """With the key that signed it, which may be an older one."""
    text = sign(KEY, ticket)
    assert is_ticket(text)
    assert text.isascii()
    assert verify([OTHER, KEY], text) == (ticket, KEY)
    with pytest.raises(Unauthorised):
        verify([OTHER], text)


@given(st.integers(0, 10_000), st.characters(codec="ascii"))
def test_a_ticket_that_was_changed_is_none(place: int, letter: str) -> None:
    """Any letter of it, to any other."""
    text = sign(KEY, SEND)
    at = len(PREFIX) + place % (len(text) - len(PREFIX))
    changed = text[:at] + letter + text[at + 1 :]
    if changed != text:
        with pytest.raises(Unauthorised) as caught:
            verify([KEY], changed)
        assert text not in str(caught.value)


@pytest.mark.parametrize("text", [PREFIX, PREFIX + ".", PREFIX + "a.b.c", PREFIX + "é.é", ""])
def test_what_is_no_ticket_is_refused(text: str) -> None:
    """Whole or not."""
    with pytest.raises(Unauthorised):
        verify([KEY], text)


def test_there_is_one_spelling() -> None:
    """Padding, and bits that mean nothing, make another text: as a key it must be one."""
    text = sign(KEY, READ)
    spare = base64.urlsafe_b64decode(text.rpartition(".")[2] + "==")
    assert len(spare) == 32
    for other in (text + "=", text[:-1] + chr(ord(text[-1]) + 1)):
        with pytest.raises(Unauthorised):
            verify([KEY], other)


def test_what_a_ticket_permits() -> None:
    """One upload to be had, or one to be begun: never both, never more."""
    read, send = READ.claims(), SEND.claims()
    assert (read.scopes, read.upload, read.key) == ({Scope.READ}, "u1", None)
    assert (send.upload, send.key, send.max_length) == (None, "ticket.t1", 10)
    assert send.scopes == {Scope.CREATE, Scope.APPEND, Scope.WATCH}
    assert (send.subject, send.expires) == ("ana", 1_800_000_000)
