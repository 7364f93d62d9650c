"""Kinds of files: the name promises, the first bytes tell."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from uploadd.errors import TypeNotAllowed
from uploadd.protocol.kinds import ANYTHING, Types, promised, sniff

PNG = b"\x89PNG\r\n\x1a\n" + bytes(20)
MP4 = b"\0\0\0\x18ftypmp42" + bytes(20)
IMAGES = Types(("image/*", "text/csv", "application/vnd.openxmlformats-*"))


@pytest.mark.parametrize(
    ("begins", "kind"),
    [
        (PNG, "image/png"),
        (b"\xff\xd8\xff\xe0", "image/jpeg"),
        (b"RIFF\0\0\0\0WEBPVP8 ", "image/webp"),
        (MP4, "video/mp4"),
        (b"%PDF-1.7", "application/pdf"),
        (b"PK\x03\x04", "application/zip"),
        (b"\x7fELF", "application/x-executable"),
        (b"  <!DOCTYPE html><html>", "text/html"),
        (b"\xef\xbb\xbf<!-- x --> <ScRiPt>", "text/html"),
        (b"<svg onload=x>", "image/svg+xml"),
        (b"<?xml version='1.0'?>", "application/xml"),
        (b"a,b,c\n1,2,3", "text/plain"),
        (b"", "text/plain"),
        (b"\0\1\2\3", "application/octet-stream"),
    ],
)
def test_the_first_bytes_tell(begins: bytes, kind: str) -> None:
    """What a browser would make of it counts, whatever it is called."""
    assert sniff(begins) == kind


@given(st.binary(max_size=600), st.text(max_size=30) | st.none(), st.text(max_size=30) | st.none())
def test_anything_can_be_looked_at(begins: bytes, name: str | None, media: str | None) -> None:
    """And is taken, where nothing else is said."""
    assert "/" in sniff(begins)
    assert promised(name, media)
    ANYTHING.check_name(name, media)
    ANYTHING.check_content(name, media, begins)


@pytest.mark.parametrize("name", ["a.png", "A.JPEG", "x.tar.csv", "a.svg", "letter.docx"])
def test_a_name_that_promises_what_is_taken(name: str) -> None:
    """Its end counts, in any case of letters."""
    IMAGES.check_name(name, "application/x-evil")


@pytest.mark.parametrize(
    ("name", "media"), [("a.exe", "image/png"), ("a.html", None), (None, None), ("a", "video/mp4")]
)
def test_another_is_refused_before_its_first_byte(name: str | None, media: str | None) -> None:
    """The client's word counts only where the name says nothing."""
    with pytest.raises(TypeNotAllowed, match="not taken") as caught:
        IMAGES.check_name(name, media)
    assert "image/*" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("name", "begins", "taken"),
    [
        ("a.png", PNG, True),
        ("a.jpg", PNG, True),  # both are taken
        ("a.png", b"<html>", False),
        ("a.png", b"hello", False),  # a PNG tells itself
        ("a.png", MP4, False),
        ("a.csv", b"a,b", True),
        ("a.csv", b"<script>", False),
        ("a.csv", b"\x7fELF", False),
        ("a.docx", b"PK\x03\x04", True),
        ("a.zip", b"PK\x03\x04", False),
        ("a.unknown", PNG, True),
    ],
)
def test_what_is_in_it_counts_as_well(name: str, begins: bytes, taken: bool) -> None:
    """A name alone lets nothing in that tells itself."""
    if taken:
        IMAGES.check_content(name, None, begins)
    else:
        with pytest.raises(TypeNotAllowed):
            IMAGES.check_content(name, None, begins)
