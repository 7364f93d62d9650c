"""Checksums of a body: which there are, and how they are said by tus and by digest fields."""

from __future__ import annotations

import hashlib
import zlib
from base64 import b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from uploadd.errors import BadRequest, ChecksumUnsupported, UploadError
from uploadd.protocol import checksums
from uploadd.protocol.checksums import SIZES, Checksum, hasher

DATA = b"hello world"
KNOWN = {
    "sha1": hashlib.sha1(DATA).digest(),
    "sha256": hashlib.sha256(DATA).digest(),
    "sha512": hashlib.sha512(DATA).digest(),
    "md5": hashlib.md5(DATA).digest(),
    "crc32": zlib.crc32(DATA).to_bytes(4, "big"),
}


@pytest.mark.parametrize("algorithm", SIZES)
def test_every_algorithm_is_computed_in_pieces_and_read(algorithm: str) -> None:
    """What a client computes of the whole is what we compute of its pieces."""
    made = hasher(algorithm)
    for piece in (DATA[:3], bytearray(DATA[3:7]), memoryview(DATA[7:])):
        made.update(piece)
    assert made.digest() == KNOWN[algorithm]
    said = f"{algorithm} {b64encode(KNOWN[algorithm]).decode()}"
    assert checksums.parse_checksum(said) == Checksum(algorithm, KNOWN[algorithm])


def test_tuspy_s_own_words_are_read() -> None:
    """The example of the tus specification."""
    assert checksums.parse_checksum("sha1 Kq5sNclPz7QV2+lfQIuc6R7oRu0=") == Checksum(
        "sha1", KNOWN["sha1"]
    )


@pytest.mark.parametrize(
    "algorithm", ["", "SHA1", "sha-1", "crc64", "sha3_256", "shake_128", "x" * 99]
)
def test_an_algorithm_that_is_not_ours_is_refused_with_those_that_are(algorithm: str) -> None:
    """Never another one in its place; however bad its value is."""
    for value in ("aGk=", "%%%", ""):
        with pytest.raises(ChecksumUnsupported) as caught:
            checksums.parse_checksum(f"{algorithm} {value}")
        assert "sha1, sha256" in (caught.value.hint or "")


@pytest.mark.parametrize(
    "value",
    [
        *["", "Kq5sNclPz7QV2+lfQIuc6R7oRu0", "Kq5sNclPz7QV2+lfQIuc6R7oRu0= x", "aGk="],
        *["Kq5sNclPz7QV2-lfQIuc6R7oRu0=", " Kq5sNclPz7QV2+lfQIuc6R7oRu0=", "2aae6c35c94fcfb415db"],
        *["Kq5sNclPz7QV2+lfQIuc6R7oRu0==", "Kq5sNclPz7QV2+lfQ\xffIuc6R7oRu0=", "="],
    ],
)
def test_a_value_that_no_body_can_have_is_a_bad_request(value: str) -> None:
    """Not a mismatch, which would be sent again and again."""
    with pytest.raises(BadRequest):
        checksums.parse_checksum(f"sha1 {value}")


@given(st.text() | st.text().map("sha1 {}".format))
def test_any_text_is_a_checksum_or_refused(text: str) -> None:
    """With an error that can be told."""
    try:
        found = checksums.parse_checksum(text)
    except UploadError:
        return
    assert len(found.value) == SIZES[found.algorithm]


# --- digest fields (RFC 9530) -------------------------------------------------------------------

SHA256 = f":{b64encode(KNOWN['sha256']).decode()}:"
SHA512 = f":{b64encode(KNOWN['sha512']).decode()}:"


@pytest.mark.parametrize(
    ("text", "algorithm"),
    [
        (f"sha-256={SHA256}", "sha256"),
        (f"sha-512={SHA512}", "sha512"),
        (f"sha-512={SHA512}, sha-256={SHA256};x=1", "sha256"),
        (f"md5=:AAAA:, future=1, unixsum=(1 2), sha-512={SHA512}", "sha512"),
        *[(text, None) for text in ("", "md5=:aGk=:", "sha-256", "sha-256=1", "sha-256=abc")],
        *[(f"sha-256={SHA256}{end}", None) for end in (",", " x", "; A", SHA256)],
    ],
)
def test_of_a_digest_field_the_first_of_ours_counts(text: str, algorithm: str | None) -> None:
    """What is malformed counts as absent, and so do algorithms that withstand nobody."""
    found = checksums.parse_digest(text)
    assert found == (None if algorithm is None else Checksum(algorithm, KNOWN[algorithm]))
    ours = "sha-256=:" in text and algorithm == "sha256"
    assert checksums.parse_sha256(text) == (KNOWN["sha256"] if ours else None)


def test_a_digest_of_a_wrong_size_is_a_bad_request() -> None:
    """It is well-formed, and no body can have it."""
    for read in (checksums.parse_digest, checksums.parse_sha256):
        with pytest.raises(BadRequest):
            read("sha-256=:aGk=:")


@pytest.mark.parametrize(
    ("text", "wanted"),
    [("sha-256=10", True), ("sha-256=1, sha-512=3", True), ("sha-256=0", False)]
    + [
        (text, False)
        for text in ("sha-256", "sha-256=11", "sha-256=-1", "sha-256=1.0", "md5=1", "")
    ],
)
def test_a_digest_is_wanted_when_its_preference_is_not_zero(text: str, wanted: bool) -> None:
    """RFC 9530 section 4."""
    assert checksums.wants_sha256(text) is wanted


@given(st.binary(min_size=32, max_size=32))
def test_a_digest_that_is_told_can_be_read(value: bytes) -> None:
    """By our own reader."""
    assert checksums.parse_sha256(checksums.digest_text(value)) == value
