"""Header fields of requests and answers."""

import json

import pytest

from uploadd.errors import ChecksumMismatch, NotFound, OffsetMismatch
from uploadd.protocol import fields

TWICE = [(b"range", b"bytes=0-1"), (b"if-match", b'"a"'), (b"range", b"x"), (b"if-match", b'"b"')]


def test_a_list_is_one_list_however_many_lines_it_has() -> None:
    """RFC 9110 5.3."""
    assert fields.joined(TWICE, b"if-match") == '"a", "b"'
    assert fields.joined(TWICE, b"absent") is None


def test_a_field_that_is_no_list_counts_only_when_it_is_there_once() -> None:
    """Two lines contradict each other: neither is believed."""
    assert fields.single(TWICE, b"range") is None
    assert fields.single(TWICE[:1], b"range") == "bytes=0-1"
    assert fields.single([], b"range") is None


def test_any_byte_of_a_value_can_be_read() -> None:
    """Field values are bytes, and obs-text is legal."""
    assert fields.values([(b"x", bytes(range(128, 256)))], b"x") == [
        "".join(map(chr, range(128, 256)))
    ]


def test_every_answer_says_who_when_and_how_long() -> None:
    """And nothing of what was given is lost."""
    got = fields.complete([("ETag", '"x"')], status=200, now=784111777.9, length=3, close=False)
    assert got == [
        ("ETag", '"x"'),
        ("Server", "uploadd"),
        ("Date", "Sun, 06 Nov 1994 08:49:37 GMT"),
        ("Content-Length", "3"),
    ]


def test_the_last_answer_says_that_it_is_the_last() -> None:
    """Connection: close."""
    got = fields.complete([], status=413, now=0, length=0, close=True)
    assert ("Connection", "close") in got


@pytest.mark.parametrize("status", [204, 304])
def test_an_answer_that_has_no_body_by_definition_announces_no_length(status: int) -> None:
    """RFC 9110 8.6."""
    got = fields.complete([], status=status, now=0, length=0, close=False)
    assert "Content-Length" not in dict(got)


def test_a_problem_carries_the_code_the_hint_and_the_request() -> None:
    """What a user pastes into a report is enough to find the line in the log."""
    error = OffsetMismatch("at 5, not at 7", hint="HEAD first", offset=5)
    status, headers, body = fields.problem_document(error, "r-1")
    assert status == 409
    assert dict(headers)["Content-Type"] == "application/problem+json"
    assert dict(headers)["Cache-Control"] == "no-store"
    assert json.loads(body) == {
        "type": "/errors/offset-mismatch",
        "title": "Offset mismatch",
        "status": 409,
        "detail": "at 5, not at 7",
        "code": "offset-mismatch",
        "hint": "HEAD first",
        "offset": 5,
        "request_id": "r-1",
    }


def test_a_problem_can_quote_what_no_encoding_can() -> None:
    """A lone surrogate in a name does not break the refusal of that name."""
    _, _, body = fields.problem_document(NotFound("no \ud800 here"), "r")
    assert json.loads(body)["detail"] == "no \ud800 here"


def test_the_statuses_of_upload_protocols_have_reasons_too() -> None:
    """Also those that the standard library does not know."""
    assert fields.reason(201) == "Created"
    assert fields.reason(104) == "Upload Resumption Supported"
    assert fields.reason(fields.answer(ChecksumMismatch("")).status) == "Checksum Mismatch"
    assert fields.reason(599) == ""
