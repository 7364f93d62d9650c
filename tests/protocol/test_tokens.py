"""What a token says, and whether that is to be believed."""

from __future__ import annotations

import base64
import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from uploadd.errors import TokenExpired, Unauthorised
from uploadd.protocol import tokens
from uploadd.protocol.tokens import USUAL, Claims, Scope, Stored, Terms

NOW = 1_800_000_000.0
TERMS = Terms("uploads")
GOOD: dict[str, Any] = {"sub": "ana", "exp": NOW + 60, "aud": "uploads"}


def judge(said: dict[str, Any], terms: Terms = TERMS) -> Claims:
    """What comes of a payload."""
    return tokens.read_claims(json.dumps(said).encode(), terms, NOW)


def test_a_good_token_says_who_what_and_until_when() -> None:
    """Without a scope it permits what the settings say, and those say nothing by themselves."""
    assert judge(GOOD) == Claims("ana", frozenset(), NOW + 60)
    assert judge(GOOD, Terms("uploads", scopes=USUAL)) == Claims("ana", USUAL, NOW + 60)
    assert judge(GOOD | {"aud": ["other", "uploads"], "iss": "us"}, Terms("uploads", "us"))
    scoped = judge(GOOD | {"scope": "openid create admin", "nbf": NOW + 59, "iat": NOW + 59})
    assert scoped.scopes == {Scope.CREATE, Scope.ADMIN}
    assert judge(GOOD | {"scope": ""}, Terms("uploads", scopes=USUAL)).scopes == frozenset()


@pytest.mark.parametrize(
    "change",
    [
        *[{"sub": None}, {"sub": ""}, {"sub": "@x"}, {"sub": "?x"}, {"sub": "a\nb"}, {"sub": 7}],
        *[{"exp": None}, {"exp": "soon"}, {"exp": True}, {"aud": None}, {"aud": "other"}],
        *[{"aud": []}, {"aud": 7}, {"nbf": NOW + 61}, {"iat": NOW + 61}, {"scope": ["create"]}],
        *[{"exp": math.inf}, {"exp": math.nan}, {"nbf": -math.inf}],
    ],
)
def test_what_is_wrong_with_a_token_refuses_it(change: dict[str, Any]) -> None:
    """A claim that is missing, of another type, somebody else's, or too early."""
    said = {name: value for name, value in (GOOD | change).items() if value is not None}
    with pytest.raises(Unauthorised):
        judge(said)


UNFIT = "\x00\n\x7f\x80\x85\x9f\u200e\u2028\u2029\u202e\u2066\ud800"


@pytest.mark.parametrize("sign", UNFIT, ids=[f"{ord(sign):x}" for sign in UNFIT])
def test_a_subject_is_one_line_that_can_be_written_down(sign: str) -> None:
    """It stands in logs, in the ledger, and before people."""
    with pytest.raises(ValueError, match="subject"):
        tokens.check_subject(f"ana{sign}b")
    with pytest.raises(Unauthorised):
        judge(GOOD | {"sub": f"ana{sign}b"})
    for fine in ("auth0|7", "ana@example.com", "Ana Żółw", "日本 🌞", "a\u200db"):
        assert tokens.check_subject(fine) == fine


@pytest.mark.parametrize("raw", [b"", b"[]", b"\xff", b'{"sub":"a","exp":1e400,"aud":"uploads"}'])
def test_what_is_no_json_refuses_it(raw: bytes) -> None:
    """Nor a number that no float holds."""
    with pytest.raises(Unauthorised):
        tokens.read_claims(raw, TERMS, NOW)


def test_another_issuer_is_refused() -> None:
    """Where one is named."""
    for said in (GOOD, GOOD | {"iss": "them"}):
        with pytest.raises(Unauthorised, match="iss"):
            judge(said, Terms("uploads", "us"))


def test_a_clock_that_is_ahead_is_named() -> None:
    """Who has signed it cannot see our clock."""
    with pytest.raises(Unauthorised) as caught:
        judge(GOOD | {"iat": NOW + 600})
    assert "10 min from now (iat)" in caught.value.message
    assert "the clocks differ" in str(caught.value.hint)


def test_an_expired_token_says_since_when_by_which_clock() -> None:
    """To the second: at its end it is over."""
    claims = Claims("ana", expires=NOW)
    claims.check(NOW - 1)
    with pytest.raises(TokenExpired) as caught:
        claims.check(NOW + 180)
    assert caught.value.message.startswith('the token for "ana" expired 3 min ago (')
    assert caught.value.message.count("GMT") == 2
    assert claims.expired(NOW)


@pytest.mark.parametrize(
    "header", [{"alg": "HS256", "crit": ["x"]}, {"alg": "HS256", "b64": False}, {}, {"alg": 7}]
)
def test_a_header_that_demands_more_is_refused(header: dict[str, Any]) -> None:
    """What is critical and not understood (CVE-2026-32597), and one without an algorithm."""
    with pytest.raises(Unauthorised):
        tokens.read_header(json.dumps(header).encode())


@given(st.text("0123456789abcdef", min_size=4, max_size=32), st.binary(min_size=32, max_size=32))
def test_a_token_of_ours_has_an_id_and_a_hash(id: str, secret: bytes) -> None:
    """And is not in what is kept of it."""
    packed = base64.urlsafe_b64encode(secret).decode().rstrip("=")
    text = tokens.token_text(id, packed)
    assert tokens.id_of(text) == id
    assert packed not in tokens.hashed(text)
    assert tokens.is_same(tokens.hashed(text), tokens.hashed(text))
    assert not tokens.is_same(tokens.hashed(text), tokens.hashed(text[:-1]))


@pytest.mark.parametrize(
    "text", ["", "uploadd_", "uploadd_ab_" + "x" * 43, "uploadd_AbCd_x", "ey.J"]
)
def test_others_are_not_ours(text: str) -> None:
    """An id too short, letters of the other case, no secret."""
    assert tokens.id_of(text) is None


def test_a_stored_token_is_read_strictly() -> None:
    """A scope that is none, a subject that could be an anonymous one."""
    kept = Stored("ana", "0" * 64, ("read",), NOW)
    assert kept.claims() == Claims("ana", frozenset({Scope.READ}), NOW)
    assert Stored("ana", "0" * 64).claims().expires == math.inf
    for wrong in (Stored("ana", "0" * 64, ("raed",)), Stored("@ana", "0" * 64)):
        with pytest.raises(ValueError, match=r"scope|subject"):
            wrong.claims()
