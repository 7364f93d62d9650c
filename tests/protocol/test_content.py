"""What a stranger uploaded is served so that it can do no harm."""

import re
from urllib.parse import unquote_to_bytes

import h11
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from uploadd.protocol import content
from uploadd.protocol.names import sanitise

NAMES = st.text(max_size=80) | st.text(
    alphabet=st.characters(categories=["L", "N", "P", "S", "Cc", "Cf", "Cs", "Z", "M"]), max_size=30
)
HEADER = re.compile(
    r"(?P<how>inline|attachment); "
    r'filename="(?P<plain>[ !#$&-\[\]-~]+)"; '
    r"filename\*=UTF-8''(?P<all>(?:[A-Za-z0-9!#$&+.^_`|~-]|%[0-9A-F]{2})+)"
)


def decoded(header: str) -> str:
    """The name that a reader of RFC 8187 finds in a Content-Disposition."""
    match = HEADER.fullmatch(header)
    assert match is not None, header
    return unquote_to_bytes(match["all"]).decode("utf-8", "strict")


@given(NAMES, st.sampled_from(["image/png", "text/html"]))
@example("a\"; filename*=UTF-8''evil.html; x=\"", "text/html")
@example("a\r\nSet-Cookie: x=1", "text/html")
@example("\u202egnp.exe\0\ud800", "image/png")
@example("％2e／..＂\u0301", "image/png")
@example("\u0301", "image/png")
def test_any_name_gives_one_clean_line_that_reads_back(name: str, kind: str) -> None:
    """Two parameters, whatever the name holds; and the name comes out as it is on disk."""
    header = content.disposition(name, kind)
    assert decoded(header) == sanitise(name, "file")
    # h11 refuses what would be two lines, or not be ASCII.
    h11.Response(status_code=200, headers=[("Content-Disposition", header)])


@given(NAMES)
def test_no_name_hides_or_leads_anywhere(name: str) -> None:
    """No control, bidirectional or surrogate character, no separator, in either parameter."""
    match = HEADER.fullmatch(content.disposition(name, "image/png"))
    assert match is not None
    forbidden = re.compile(
        r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff/\\]"
    )
    for found in (match["plain"], decoded(match[0])):
        assert not forbidden.search(found)
        assert not found.startswith(".")


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("holiday.mp4", "holiday.mp4"),
        ("two words.txt", "two words.txt"),
        ("Müller & Söhne.pdf", "Muller & Sohne.pdf"),
        ("日本.png", "__.png"),
        ("100%25.txt", "100_25.txt"),
        ('say "hi".txt', "say _hi_.txt"),
        ("back\\slash", "back_slash"),
        (None, "file"),
        ("", "file"),
        ("..", "file"),
    ],
)
def test_an_old_client_gets_a_name_it_can_read(name: str | None, plain: str) -> None:
    """Curl among them: it knows only the fallback."""
    assert f'; filename="{plain}";' in content.disposition(name, "text/plain")


@pytest.mark.parametrize(
    "kind", ["text/plain", "image/png", "image/avif", "audio/mpeg", "video/mp4", "video/webm"]
)
def test_what_cannot_carry_a_script_is_shown(kind: str) -> None:
    """Raster images, sound, film and plain text."""
    assert content.disposition("x", kind).startswith("inline; ")


@pytest.mark.parametrize(
    "kind",
    [
        "text/html",
        "image/svg+xml",
        "application/xhtml+xml",
        "application/xml",
        "text/xml",
        "application/pdf",
        "text/javascript",
        "text/css",
        "application/octet-stream",
        "application/x-shockwave-flash",
        "message/rfc822",
        "image/unheard-of",
    ],
)
def test_what_may_carry_a_script_is_saved(kind: str) -> None:
    """And so is all that is not on the list."""
    assert content.disposition("x.png", kind).startswith("attachment; ")


@pytest.mark.parametrize(
    ("declared", "served"),
    [
        ("image/png", "image/png"),
        ("IMAGE/PNG", "image/png"),
        ("application/vnd.ms-excel", "application/vnd.ms-excel"),
        ("text/html;charset=utf-7", "text/html"),
        (" text/plain ; charset=latin-1", "text/plain"),
        ("image/png, text/html", content.UNKNOWN),
        ("image/png text/html", content.UNKNOWN),
        ("image", content.UNKNOWN),
        ("image/", content.UNKNOWN),
        ("/png", content.UNKNOWN),
        ("*/*", content.UNKNOWN),
        ("image/png\r\nX: y", content.UNKNOWN),
        ("ımage/png", content.UNKNOWN),
        ("image/pnĝ", content.UNKNOWN),
        ("a/" + "b" * 200, content.UNKNOWN),
        ("multipart/x-mixed-replace; boundary=x", content.UNKNOWN),
        ("multipart/byteranges", content.UNKNOWN),
        (";", content.UNKNOWN),
    ],
)
def test_a_declared_media_type_is_served_only_when_it_is_one(declared: str, served: str) -> None:
    """Without its parameters; else it is bytes, whatever the name says."""
    assert content.media_type(declared, "x.html") == served


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.png", "image/png"),
        ("A.JPG", "image/jpeg"),
        ("a.tar.gz", "application/gzip"),
        ("a.svg", "image/svg+xml"),
        ("notes.txt", "text/plain"),
        ("README", content.UNKNOWN),
        ("a.unheard", content.UNKNOWN),
        (".png", content.UNKNOWN),
        ("a.", content.UNKNOWN),
        (None, content.UNKNOWN),
    ],
)
@pytest.mark.parametrize("declared", [None, "", " "])
def test_a_file_of_no_declared_type_is_what_its_suffix_says(
    name: str | None, kind: str, declared: str | None
) -> None:
    """By our own table, the same on every host."""
    assert content.media_type(declared, name) == kind


@given(st.text(max_size=60), st.none() | NAMES)
def test_any_declaration_gives_one_clean_media_type(declared: str, name: str | None) -> None:
    """Two ASCII words around one slash."""
    assert re.fullmatch(
        r"[a-z0-9!#$&^_.+-]+/[a-z0-9!#$&^_.+-]+", content.media_type(declared, name)
    )


@given(st.none() | NAMES, st.none() | st.text(max_size=60))
def test_every_file_carries_all_the_locks(name: str | None, declared: str | None) -> None:
    """A browser that disregards one is stopped by another."""
    fields = dict(content.headers(name, declared))
    assert fields["X-Content-Type-Options"] == "nosniff"
    assert fields["Content-Security-Policy"] == "sandbox; default-src 'none'"
    assert fields["Cross-Origin-Resource-Policy"] == "same-origin"
    shown = fields["Content-Disposition"].startswith("inline")
    assert shown == (fields["Content-Type"].partition(";")[0] in content.INLINE)


def test_plain_text_is_said_to_be_utf_8() -> None:
    """So that no browser guesses an encoding in which it is something else."""
    assert ("Content-Type", "text/plain; charset=utf-8") in content.headers("a.txt", None)
