"""Forms, piece by piece: what a browser sends is read, and what is none is refused early."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import chunked
from tests.wire import head, parsed
from uploadd import errors
from uploadd.protocol import form as module
from uploadd.protocol.form import Event, FileBegins, FileEnds, Form, Value, metadata

BOUNDARY = "b0"


def begun(content_type: str = f"multipart/form-data; boundary={BOUNDARY}") -> Form:
    """A form, of which nothing has come yet."""
    line = f"Content-Type: {content_type}".encode()
    return Form(parsed(head(line, b"Content-Length: 1", method=b"POST", host=b"x")))


def part(fields: str, data: bytes, more: bytes = b"") -> bytes:
    """One part."""
    told = f"--{BOUNDARY}\r\nContent-Disposition: form-data; {fields}\r\n".encode()
    return told + more + b"\r\n" + data + b"\r\n"


END = f"--{BOUNDARY}--\r\n".encode()


def read(*pieces: bytes) -> list[Event]:
    """What *pieces*, the whole of a form, bring; the bytes of a file in one."""
    form, events = begun(), list[Event]()
    for piece in pieces:
        for event in form.feed(piece):
            if isinstance(event, bytes) and events and isinstance(events[-1], bytes):
                events[-1] += event
            elif event != b"":
                events.append(event)
    form.end()
    return events


FILES = st.binary(max_size=80) | st.lists(
    st.sampled_from([b"\r", b"\n", b"-", b"--b0", b"\r\n--b", b"\r\n--b0x", b"\\"]), max_size=12
).map(b"".join)


@given(st.data(), st.lists(FILES, max_size=4))
def test_what_was_put_into_a_form_comes_out_in_any_pieces(
    data: st.DataObject, files: list[bytes]
) -> None:
    """Also what looks like a boundary and is none; fields before and behind."""
    files = [one for one in files if f"\r\n--{BOUNDARY}".encode() not in b"\r\n" + one + b"\r\n"]
    field = part('name="a"', "ö".encode())
    bodies = [part(f'name="f"; filename="{n}.bin"', one) for n, one in enumerate(files)]
    whole = b"".join([field, *bodies, field, END])
    events = read(*data.draw(chunked(whole)))
    expected: list[Event] = [Value("a", "ö")]
    for number, one in enumerate(files):
        begins = FileBegins(f"{number}.bin", "", None, "f")
        expected += [begins, *([one] if one else []), FileEnds()]
    assert events == [*expected, Value("a", "ö")]


def test_nothing_of_a_file_is_kept_back() -> None:
    """However long it is: beyond what may be the beginning of a boundary."""
    form = begun()
    list(form.feed(part('name="f"; filename="x"', b"")[:-2]))
    for size in (1, 1000, 1 << 20):
        events = [event for event in form.feed(b"\r" * size) if isinstance(event, bytes)]
        assert sum(map(len, events)) >= size - len(f"\r\n--{BOUNDARY}")
        assert len(events) <= 3, "not one for every byte that may begin a boundary"


@pytest.mark.parametrize(
    "content_type",
    [
        "multipart/form-data",
        "multipart/form-data; boundary=",
        f"multipart/form-data; boundary={'x' * (module.MAX_BOUNDARY + 1)}",
        f'multipart/form-data; boundary="{chr(92) * 8000}"',
    ],
)
def test_a_boundary_is_of_1_to_70_characters(content_type: str) -> None:
    """RFC 2046; one of backslashes is not unquoted for ever."""
    with pytest.raises(errors.BadRequest):
        begun(content_type)
    begun(f"multipart/form-data; boundary={'x' * module.MAX_BOUNDARY}")


def test_another_media_type_is_no_form() -> None:
    """And is told what to type."""
    with pytest.raises(errors.UnsupportedMediaType) as caught:
        begun("text/plain")
    assert "curl" in str(caught.value.hint)


@pytest.mark.parametrize(
    "body",
    [
        b"something else",
        b"\r\n" * 2000,
        part('name="f"; filename="x"', b"abc"),
        part('name="a"', b"\xff") + END,
        part('filename="x"', b"abc") + END,
        part('name="a"', b"x" * (module.MAX_FIELDS + 1)) + END,
        part('name="f"; filename="x"', b"abc", b"X: " + b"x" * (1 << 20) + b"\r\n") + END,
        part('name="f"; filename="x"', b"") * (module.MAX_PARTS + 1) + END,
    ],
    ids=["none", "lines", "no end", "no UTF-8", "no name", "long field", "1 MB head", "many"],
)
def test_what_is_no_form_or_too_much_is_refused(body: bytes) -> None:
    """Whatever it is: with an error that can be told."""
    with pytest.raises(errors.BadRequest):
        read(body)


def test_the_folders_of_a_file_are_told_apart_from_its_name() -> None:
    """With either kind of slash; an input that was left empty has no name."""
    for told, name, path in (
        ("a/b.txt", "b.txt", "a/b.txt"),
        ("b.txt", "b.txt", ""),
        ("", None, ""),
    ):
        [begins, *_] = read(part(f'name="f"; filename="{told}"', b""), END)
        assert begins == FileBegins(name, path, None, "f")


def test_a_path_in_a_field_is_about_an_only_file() -> None:
    """With several it says nothing; what the file says itself goes before."""
    values = [Value("relativePath", "a/b"), Value("note", "n")]
    alone = metadata(FileBegins("b", "", None), values, alone=True)
    assert alone == {"relativePath": "a/b", "note": "n"}
    assert metadata(FileBegins("b", "", None), values, alone=False) == {"note": "n"}
    assert metadata(FileBegins("b", "c/b", None), values, alone=True)["relativePath"] == "c/b"


def test_the_page_shows_names_and_obeys_none() -> None:
    """They are the client's."""
    upload = module.Upload(id="i" * 24, name="<script>", length=3)
    status, fields, body = module.stored([(upload, bytes(32))], page=True)
    assert (status, dict(fields)["Content-Security-Policy"]) == (201, "default-src 'none'")
    assert not re.search(rb"<script", body)
