"""The answer to a request for a file, before a byte of it is touched."""

import pytest

from uploadd.errors import PreconditionFailed, RangeNotSatisfiable
from uploadd.protocol.dates import format_date
from uploadd.protocol.download import Plan, Published, plan

FILE = Published(id="abc", name="a.png", media_type="image/png", length=10, modified=784111777)
NOW = 1_700_000_000


def asked(*lines: tuple[str, str], method: str = "GET", file: Published = FILE) -> Plan:
    """The plan for a request with *lines*."""
    received = [(name.lower().encode(), value.encode()) for name, value in lines]
    return plan(method, received, file, boundary=lambda: "b", now=NOW)


def test_the_whole_file_comes_with_all_that_is_needed_to_ask_again() -> None:
    """200, with validators, length and the locks."""
    got = asked()
    fields = dict(got.headers)
    assert (got.status, got.body, got.error) == (200, ((0, 10),), None)
    assert fields["ETag"] == '"abc"'
    assert fields["Last-Modified"] == "Sun, 06 Nov 1994 08:49:37 GMT"
    assert fields["Accept-Ranges"] == "bytes"
    assert fields["Cache-Control"] == "private, no-cache"
    assert fields["Content-Length"] == "10"
    assert fields["Content-Type"] == "image/png"
    assert fields["X-Content-Type-Options"] == "nosniff"
    assert "Content-Range" not in fields


def test_a_range_says_which_it_is() -> None:
    """206, one span."""
    got = asked(("Range", "bytes=2-4"))
    fields = dict(got.headers)
    assert (got.status, got.body) == (206, ((2, 5),))
    assert fields["Content-Range"] == "bytes 2-4/10"
    assert fields["Content-Length"] == "3"
    assert fields["Content-Type"] == "image/png"


def test_several_ranges_come_as_parts_in_their_order() -> None:
    """206, multipart/byteranges, the type of the file on each part, its length exact."""
    got = asked(("Range", "bytes=8-,0-1"))
    fields = dict(got.headers)
    assert got.status == 206
    assert fields["Content-Type"] == "multipart/byteranges; boundary=b"
    assert "Content-Range" not in fields
    assert got.body == (
        b"--b\r\nContent-Type: image/png\r\nContent-Range: bytes 8-9/10\r\n\r\n",
        (8, 10),
        b"\r\n--b\r\nContent-Type: image/png\r\nContent-Range: bytes 0-1/10\r\n\r\n",
        (0, 2),
        b"\r\n--b--\r\n",
    )
    assert int(fields["Content-Length"]) == 4 + sum(
        len(piece) for piece in got.body if isinstance(piece, bytes)
    )


def test_ranges_that_become_one_come_as_one() -> None:
    """A request for several that touch has a plain answer."""
    got = asked(("Range", "bytes=0-3,4-6"))
    assert (got.status, got.body) == (206, ((0, 7),))


def test_a_range_outside_is_refused_with_the_length() -> None:
    """416, so that the client can ask better."""
    got = asked(("Range", "bytes=10-"))
    assert got.status == 416
    assert isinstance(got.error, RangeNotSatisfiable)
    assert got.headers == [("Content-Range", "bytes */10")]


def test_two_range_lines_are_none() -> None:
    """Two contradict each other: the whole file."""
    assert asked(("Range", "bytes=0-1"), ("Range", "bytes=2-3")).status == 200


def test_head_knows_no_ranges() -> None:
    """RFC 9110 14.2: only GET has them, so HEAD tells of the whole file."""
    got = asked(("Range", "bytes=2-4"), method="HEAD")
    assert got.status == 200
    assert dict(got.headers)["Content-Length"] == "10"


def test_a_client_that_has_the_file_gets_no_byte_of_it() -> None:
    """304 with the validators, before any range is looked at."""
    got = asked(("If-None-Match", '"abc"'), ("Range", "bytes=99-"))
    assert (got.status, got.body) == (304, ())
    assert {name for name, _ in got.headers} == {
        "ETag",
        "Last-Modified",
        "Cache-Control",
        "Accept-Ranges",
    }


def test_a_client_that_means_another_file_is_refused() -> None:
    """412, whatever range it asks for."""
    got = asked(("If-Match", '"x"'), ("Range", "bytes=99-"))
    assert got.status == 412
    assert isinstance(got.error, PreconditionFailed)


@pytest.mark.parametrize(("validator", "status"), [('"abc"', 206), ('"old"', 200)])
def test_a_download_is_resumed_only_of_the_same_file(validator: str, status: int) -> None:
    """If-Range with an old tag gives all of the new file."""
    assert asked(("Range", "bytes=5-"), ("If-Range", validator)).status == status


def test_an_empty_file_has_an_empty_body() -> None:
    """200 and nothing to send, also for a range."""
    empty = FILE._replace(length=0)
    for lines in ([], [("Range", "bytes=0-")]):
        got = asked(*lines, file=empty)
        assert (got.status, got.body) == (200, ())
        assert dict(got.headers)["Content-Length"] == "0"


def test_a_file_is_never_said_to_come_from_the_future() -> None:
    """A clock that went back must not make a date that HTTP forbids."""
    got = asked(file=FILE._replace(modified=NOW + 100))
    assert dict(got.headers)["Last-Modified"] == format_date(NOW)
