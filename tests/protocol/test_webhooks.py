"""Signatures, as those of the specification's own example."""

from __future__ import annotations

import base64
import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from uploadd.protocol.webhooks import PREFIX, headers, key_of

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def test_the_example_of_the_specification() -> None:
    """Whoever verifies with a library of theirs gets the same."""
    told = headers(
        key_of(SECRET), "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330.9, b'{"test": 2432232314}'
    )
    assert dict(told) == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


def test_without_a_key_nothing_is_signed() -> None:
    """The id is there all the same: whoever is told twice can see that."""
    assert [name for name, _ in headers(None, "a", 1.0, b"")] == ["webhook-id", "webhook-timestamp"]


@given(key=st.binary(min_size=24, max_size=80), body=st.binary())
def test_a_signature_is_of_id_time_and_body(key: bytes, body: bytes) -> None:
    """Nothing of them can be changed."""
    secret = PREFIX + base64.b64encode(key).decode()
    assert key_of(secret) == key
    said = dict(headers(key, "id", 5, body))["webhook-signature"].removeprefix("v1,")
    assert base64.b64decode(said) == hmac.digest(key, b"id.5." + body, hashlib.sha256)


@pytest.mark.parametrize(
    "secret", ["", "whsec_", "whsec_c2hvcnQ=", SECRET.removeprefix(PREFIX), "whsec_ü", "whsec_***"]
)
def test_what_is_no_secret_is_refused_with_how_to_make_one(secret: str) -> None:
    """An empty key would sign for everybody."""
    with pytest.raises(ValueError, match=r"whsec_.*urandom"):
        key_of(secret)
