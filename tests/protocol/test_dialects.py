"""Which dialect a request speaks, as a table (reference/protocols.md section 3.9)."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from uploadd import errors
from uploadd.errors import UploadError
from uploadd.protocol import dialects, ietf, tus
from uploadd.protocol.dialects import SPEAKERS, Dialect, spoken
from uploadd.protocol.heads import METHODS, Head, HeadGate

ID = "AbCdEfGhIjKlMnOpQrSt_-"
TUS, IETF, FORM, RAW = Dialect.TUS, Dialect.IETF, Dialect.FORM, Dialect.RAW
MARK = "Tus-Resumable: 1.0.0"
FORM_TYPE = "Content-Type: multipart/form-data; boundary=x"
PARTIAL = "Content-Type: Application/Partial-Upload; a=b"
CHUNK = "Content-Type: application/offset+octet-stream"
VERSION = "Upload-Draft-Interop-Version: 6"
WHOLE = "Upload-Complete: ?1"
HERE, ONE = "/files/", f"/files/{ID}"


def head(method: str, target: str, *fields: str) -> Head:
    """A request, as the gate gives it."""
    gate = HeadGate()
    lines = [f"{method} {target} HTTP/1.1", "Host: here:8000", *fields, "", ""]
    gate.feed("\r\n".join(lines).encode("latin-1"))
    made = gate.next()
    assert made is not None
    return made


TABLE = [
    # tus by its mark, where uploads live, whatever else is said
    *[(method, ONE, [MARK], TUS) for method in ("PATCH", "HEAD", "DELETE", "POST")],
    *[("POST", where, [MARK], TUS) for where in (HERE, "/files", HERE + "?a=b")],
    ("POST", HERE, [MARK, WHOLE, VERSION, FORM_TYPE], TUS),
    ("POST", HERE, ["Tus-Resumable: 0.2.2"], TUS),  # to be told which is spoken
    # the IETF's by its fields, anywhere: Apple's tasks mark ordinary uploads
    *[("POST", where, [WHOLE], IETF) for where in (HERE, "/", "/files")],
    *[("PUT", "/a.txt", [mark], IETF) for mark in (WHOLE, "Upload-Incomplete: ?0", VERSION)],
    *[("POST", where, [WHOLE, VERSION, FORM_TYPE], FORM) for where in (HERE, "/")],
    *[("POST", where, ["Upload-Complete: ?0", FORM_TYPE], IETF) for where in (HERE, "/")],
    *[(method, ONE, [VERSION], IETF) for method in ("PATCH", "HEAD", "DELETE")],
    ("PUT", "/a.txt", [WHOLE, MARK], IETF),  # tus is spoken below /files/ only
    ("PUT", "/a.txt", ["Upload-Draft-Interop-Version: 99"], IETF),
    # a field that is malformed is none
    *[("PUT", "/a", [bad], RAW) for bad in ("Upload-Complete: 1", "Upload-Complete: ?1, ?1")],
    ("PUT", "/a", ["Upload-Draft-Interop-Version: x"], RAW),
    # without a mark the media type tells
    ("PATCH", ONE, [PARTIAL], IETF),
    ("PATCH", ONE, [CHUNK], TUS),
    ("POST", HERE, [CHUNK], TUS),
    ("PATCH", ONE, [], TUS),
    # and without anything, who could have left it out
    ("HEAD", ONE, [], TUS),
    ("DELETE", ONE, [], IETF),
    # plain uploads
    *[("POST", where, [FORM_TYPE], FORM) for where in ("/", HERE)],
    ("POST", HERE, ["Content-Type: MULTIPART/Form-Data"], FORM),
    ("PUT", "/a", [FORM_TYPE], RAW),
    ("POST", HERE, ["Content-Type: text/plain"], RAW),
    ("POST", "/", [CHUNK], RAW),
    *[("PUT", "/a", [], RAW), ("POST", HERE, [], RAW), ("PUT", "/filesystem", [MARK], RAW)],
    # a POST that stands for another method is that method
    ("POST", ONE, ["X-HTTP-Method-Override: DELETE"], IETF),
    ("POST", ONE, ["X-HTTP-Method-Override: PATCH", PARTIAL], IETF),
    ("POST", ONE, ["X-HTTP-Method-Override: HEAD"], TUS),
]


@pytest.mark.parametrize(("method", "target", "fields", "dialect"), TABLE)
def test_a_request_speaks_one_dialect(
    method: str, target: str, fields: list[str], dialect: Dialect
) -> None:
    """The first sign decides."""
    assert spoken(head(method, target, *fields)) is dialect


def test_each_resumable_dialect_has_its_speaker() -> None:
    """Modules with the same functions."""
    assert {TUS: tus, IETF: ietf} == SPEAKERS


@pytest.mark.parametrize(
    ("fields", "sign"),
    [([MARK], "Tus-Resumable"), ([WHOLE], "Upload-Draft-Interop-Version"), ([], None)],
)
def test_an_error_is_said_in_the_dialect_of_its_request(
    fields: list[str], sign: str | None
) -> None:
    """tus needs its version on every answer; a plain upload gets the problem alone."""
    made = head("POST", HERE, *fields)
    status, told, body = dialects.refused(errors.TooLarge("no"), "r", made, max_length=5)
    assert (status, json.loads(body)["code"]) == (413, "too-large")
    signs = {"Tus-Resumable", "Upload-Draft-Interop-Version"}
    assert signs & dict(told).keys() == ({sign} if sign else set())


def test_a_method_that_a_post_cannot_stand_for_is_refused_in_the_dialect() -> None:
    """Even though no dialect can be told by its method."""
    made = head("POST", HERE, MARK, "X-HTTP-Method-Override: TRACE")
    with pytest.raises(errors.NotImplementedHere) as caught:
        spoken(made)
    status, told, _ = dialects.refused(caught.value, "r", made)
    assert (status, dict(told)["Tus-Resumable"]) == (501, "1.0.0")


def test_options_tells_of_all_dialects() -> None:
    """Each field once."""
    told = dialects.options(5)
    assert {"Tus-Version", "Tus-Max-Size", "Upload-Limit", "Accept-Patch"} <= dict(told).keys()
    assert len(dict(told)) == len(told)


FIELDS = st.sampled_from(
    [
        MARK,
        WHOLE,
        VERSION,
        FORM_TYPE,
        CHUNK,
        PARTIAL,
        "X-HTTP-Method-Override: x",
        "Upload-Complete: x",
    ]
)


@given(
    st.sampled_from(METHODS),
    st.sampled_from(["/", HERE, "/files", ONE, "/a/b", "/f/x?/files/"]),
    st.lists(FIELDS, max_size=4),
)
def test_any_head_speaks_something_or_is_refused(
    method: str, target: str, fields: list[str]
) -> None:
    """Also when fields contradict each other; and every refusal can be told."""
    made = head(method, target, *fields)
    try:
        dialect = spoken(made)
    except UploadError as error:
        dialects.refused(error, "r", made)
        return
    if dialect is TUS:
        assert target.startswith("/files")
