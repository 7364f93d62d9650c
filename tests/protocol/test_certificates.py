"""When a certificate ends, read as somebody else wrote it."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from uploadd.protocol.certificates import SOON, ends, worry

DAY = 86_400.0
moments = st.datetimes(datetime(1951, 1, 1), datetime(9999, 12, 31))  # noqa: DTZ001 - hypothesis wants that


@cache
def key() -> ec.EllipticCurvePrivateKey:
    """One for all."""
    return ec.generate_private_key(ec.SECP256R1())


def certificate(end: datetime, **how: Any) -> bytes:
    """One in PEM that ends then, signed by itself."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, how.get("name", "x"))])
    made = x509.CertificateBuilder(name, name, key().public_key(), how.get("serial", 1))
    made = made.not_valid_before(datetime(1950, 1, 2, tzinfo=UTC)).not_valid_after(end)
    names = x509.SubjectAlternativeName([x509.DNSName(n) for n in how.get("names", ["x"])])
    signed = made.add_extension(names, critical=False).sign(key(), hashes.SHA256())
    return signed.public_bytes(serialization.Encoding.PEM)


@given(
    end=moments,
    name=st.text("abc", min_size=1, max_size=64),
    serial=st.integers(1, 2**150),
    names=st.lists(st.text("abc", min_size=1, max_size=60), max_size=300),
    before=st.sampled_from(["", "# a comment\n", "-----BEGIN PRIVATE KEY-----\nAA\n"]),
)
def test_the_end_is_read_from_any_certificate(
    end: datetime, name: str, serial: int, names: list[str], before: str
) -> None:
    """With two digits of the year and with four, however long what stands beside it is."""
    end = end.replace(microsecond=0, tzinfo=UTC)
    pem = before + certificate(end, name=name, serial=serial, names=names or ["x"]).decode()
    assert ends(pem) == end.timestamp()


def test_of_a_chain_the_first_counts() -> None:
    """It is the server's own; what is above it has other keepers."""
    first, second = (datetime(2040, 1, day, tzinfo=UTC) for day in (1, 2))
    chain = certificate(first) + certificate(second)
    assert ends(chain.decode()) == first.timestamp()


@given(st.binary(max_size=200))
def test_rubbish_is_no_certificate(data: bytes) -> None:
    """Whatever it is, it is told as one thing."""
    text = base64.b64encode(data).decode()
    pem = f"-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----"
    for rubbish in (pem, text):
        with pytest.raises(ValueError, match=r"."):
            ends(rubbish)


@given(st.integers(0, 2000))
def test_one_that_is_cut_off_is_none(at: int) -> None:
    """Anywhere before its end is said."""
    whole = certificate(datetime(2040, 1, 1, tzinfo=UTC))
    der = base64.b64decode(b"".join(whole.splitlines()[1:-1]))
    cut = base64.b64encode(der[: at % len(der)]).decode()
    with pytest.raises(ValueError, match="cut off"):
        ends(f"-----BEGIN CERTIFICATE-----\n{cut}\n-----END CERTIFICATE-----")


def test_it_is_told_in_time_and_not_before() -> None:
    """A fortnight before; and afterwards, in other words."""
    end = datetime(2040, 1, 31, tzinfo=UTC).timestamp()
    assert worry(end, end - SOON) == ""
    assert worry(end, end - SOON + 1).startswith("ends in 14.0 days, on 2040-01-31")
    assert worry(end, end - 1).startswith("ends in 0.0 days")
    assert worry(end, end).startswith("has ended on 2040-01-31 00:00 UTC")
    assert timedelta(seconds=SOON).days == 14
