"""What clients say about their files: read strictly, said again as it was."""

from __future__ import annotations

import time
from base64 import b64encode
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from uploadd.errors import BadRequest, UploadError
from uploadd.protocol import metadata
from uploadd.protocol.content import disposition
from uploadd.protocol.metadata import disposition_name, parse
from uploadd.protocol.names import sanitise


def b64(value: bytes | str) -> str:
    """As clients encode it."""
    return b64encode(value if isinstance(value, bytes) else value.encode()).decode()


def said(**values: bytes | str) -> bytes:
    """Upload-Metadata."""
    return ",".join(f"{key} {b64(value)}" for key, value in values.items()).encode()


# --- Upload-Metadata ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "texts"),
    [
        (None, {}),
        (b"", {}),  # tuspy
        (b"is_confidential", {"is_confidential": ""}),
        (b"filename d29ybGRfZG9taW5hdGlvbl9wbGFuLnBkZg==,is_confidential",
         {"filename": "world_domination_plan.pdf", "is_confidential": ""}),
        (b"a aGk=, b aGk=", {"a": "hi", "b": "hi"}),
        (b"a ,b", {"a": "", "b": ""}),
        (b"a aGk=\t", {"a": "hi"}),  # white space at the edges is no fault
        (b"__proto__ aGk=", {"__proto__": "hi"}),
        (b"relativePath YS9i", {"relativePath": "a/b"}),
        (said(a=b"\xff", b="\u00e9"), {"b": "\u00e9"}),
        (said(a=b"\xed\xa0\x80", b=b"\xc0\xaf"), {}),
    ],
)  # fmt: skip
def test_metadata_is_kept_as_sent_and_read_where_it_is_text(
    value: bytes | None, texts: dict[str, str]
) -> None:
    """What is not UTF-8 goes back to its client, and nowhere else."""
    found = parse(value)
    assert found.texts == texts
    assert found.verbatim == (value or b"").decode()


@pytest.mark.parametrize(
    "value",
    [
        *[b",", b"a aGk=,", b",a aGk=", b"a aGk=,,b aGk=", b" ", b"a  aGk=", b"a aGk= x"],
        *[b"a aGk=,a aGk=", b"a,a", b"a aGk", b"a a", b"a %%%%", b"a aGk=x", b"a =", b"a aG-_"],
        *[b"a\taGk=", b"a aGk=;b"],
        said(a=b"x" * 4097),
        b",".join(b"k%d" % at for at in range(101)),
        b",".join(b"k%d" % at for at in range(10_000)),
    ],
)
def test_metadata_that_is_malformed_or_too_much_is_refused(value: bytes) -> None:
    """T22: duplicate and empty keys, bad base64, values over 4 KiB, more than 100 keys."""
    with pytest.raises(BadRequest):
        parse(value)


def test_a_value_of_four_kibibytes_and_a_hundred_keys_are_taken() -> None:
    """The bounds are legal."""
    assert len(parse(said(a=b"x" * 4096)).texts["a"]) == 4096
    assert len(parse(b",".join(b"k%d" % at for at in range(100))).texts) == 100


@pytest.mark.parametrize(
    ("values", "name", "kind"),
    [
        (
            {"filename": "a.txt", "name": "b", "filetype": "text/plain", "type": "x/y"},
            "a.txt",
            "text/plain",
        ),
        ({"name": "b", "type": "x/y"}, "b", "x/y"),
        ({"filename": "", "name": "b"}, "b", None),
        ({"filename": b"\xff", "name": "b"}, "b", None),
        ({"filetype": "x" * 256}, None, None),
        ({}, None, None),
    ],
)
def test_name_and_type_are_found_under_the_keys_that_clients_use(
    values: dict[str, bytes | str], name: str | None, kind: str | None
) -> None:
    """tus-js-client and its examples say filename and filetype, Uppy name and type as well."""
    found = parse(said(**values))
    assert (found.name, found.media_type) == (name, kind)


@pytest.mark.parametrize(
    "name",
    [
        *[
            "a" * 255,
            "a" * 256,
            "😀" * 64,
            "a. ",
            "CON",
            "é",
            "e\u0301",
            "...",
            "a\nb",
            "a\r\nX: y",
        ],
        *["a\"; filename*=UTF-8''evil.html; x=\"", "a\u202eb", "a\x00b", "../../etc/passwd"],
    ],
)
def test_a_strange_name_is_kept_and_has_a_safe_one_on_disk(name: str) -> None:
    """B27, T1 and T4: returned unchanged; what is made of it is one component, one header line."""
    found = parse(said(filename=name))
    assert found.name == name
    safe = sanitise(found.name, "id")
    assert safe not in ("", ".", "..")
    assert "/" not in safe
    assert len(safe.encode()) <= 200
    line = disposition(found.name, "text/plain")
    assert line.isascii()
    assert line.isprintable()


KEYS = st.text(
    st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters=","), min_size=1
)


@given(st.dictionaries(KEYS, st.text(max_size=99), max_size=20))
def test_what_is_written_is_read_again(texts: dict[str, str]) -> None:
    """For uploads that came another way."""
    assert parse(metadata.write(texts).encode()).texts == texts


def test_what_the_field_cannot_say_is_left_out() -> None:
    """And never breaks it."""
    assert metadata.write({"a b": "x", "c,d": "x", "": "x", "é": "x", "e\n": "x", "ok": ""}) == "ok"
    assert parse(metadata.write({"a": "\ud800"}).encode()).texts == {"a": "?"}


@given(
    st.binary(max_size=200)
    | st.lists(st.sampled_from([b"a", b" ", b",", b"aGk=", b"=", b"7aCA"])).map(b"".join)
)
def test_any_field_is_metadata_or_refused(value: bytes) -> None:
    """Nothing else is raised, and no lone surrogate comes out."""
    try:
        found = parse(value)
    except UploadError:
        return
    assert found.verbatim.encode("latin-1") == value
    for text in (*found.texts.values(), *found.texts):
        text.encode("utf-8")


# --- Content-Disposition ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("inline; filename=a.txt", "a.txt"),
        ("inline; filename=\"file name.jpg\"; filename*=UTF-8''file%20name.jpg", "file name.jpg"),
        ("attachment;filename*=utf-8'en'%e2%82%ac%20rates;filename=x", "€ rates"),
        ('form-data; name="a"; filename="a\\"b\\\\c.txt"', 'a"b\\c.txt'),
        ('INLINE ; FileName = "x" ;', "x"),
        # an extended value that is malformed does not count
        ("inline; filename*=UTF-8''%ff; filename=x", "x"),
        ("inline; filename*=UTF-8''%ed%a0%80; filename=x", "x"),
        ("inline; filename*=ISO-8859-1''%e9; filename=x", "x"),
        ("inline; filename*=UTF-8''%4; filename=x", "x"),
        ("inline; filename*=UTF-8''; filename=x", "x"),
        ("inline; filename*=x", None),
        *[
            (text, None)
            for text in ("inline", "", ";filename=a", "inline filename=a", 'inline; filename=""')
        ],
        *[
            (text, None)
            for text in ("inline; filename=a b", 'inline; filename="a', "inline; filename=a; x")
        ],
        *[
            (text, None)
            for text in ("inline; filename=a; FILENAME=b", "inline;; filename=a", "a=b")
        ],
    ],
)
def test_the_name_in_a_disposition(text: str, name: str | None) -> None:
    """RFC 6266 and 8187; what is malformed counts as absent."""
    assert disposition_name(text) == name


@given(st.text(max_size=60))
def test_the_name_that_we_send_is_the_name_that_we_read(name: str) -> None:
    """Our own Content-Disposition is one."""
    assert disposition_name(disposition(name, "x/y")) == sanitise(name, "file")


@given(
    st.text()
    | st.lists(
        st.sampled_from(
            ["inline", ";", "filename", "*", "=", '"', "\\", "UTF-8''", "%c3", "%a9", " "]
        )
    ).map("".join)
)
def test_any_disposition_has_a_name_or_none(text: str) -> None:
    """Nothing is raised."""
    name = disposition_name(text)
    assert name is None or name


@pytest.mark.parametrize(
    "text",
    [
        *["a" + " " * 2**16 + "x", 'a;b="' + "\\" * 2**16, "a" + ";b=c" * 2**14 + '"'],
        *["a;filename*=UTF-8''" + "%c3" * 2**14 + "%", "a" * 2**16 + "\x00", "a" + "; " * 2**15],
    ],
)
def test_no_field_takes_long(text: str) -> None:
    """Four times what a head can hold; in quadratic time each would take a quarter of a minute."""
    start = time.process_time()
    disposition_name(text)
    with suppress(BadRequest):
        parse(text.encode())
    assert time.process_time() - start < 3
