"""A line of the log is one line, whatever is in it, and keeps what it is about."""

from __future__ import annotations

import io
import json
import logging
import os
import socket
import struct
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from uploadd import lines

anything = st.text(st.characters(codec="utf-8", categories=None), max_size=60)


def record(message: str, **fields: Any) -> logging.LogRecord:
    """A line that says *message* and is about *fields*."""
    made = logging.LogRecord("uploadd.upload", logging.INFO, "", 0, "%s", (message,), None)
    if fields:
        made.uploadd = fields
    return made


def read(entry: bytes) -> dict[str, bytes]:
    """What journald reads out of an entry."""
    found = {}
    while entry:
        head, _, rest = entry.partition(b"\n")
        if b"=" in head:
            name, _, value = head.partition(b"=")
        else:
            name, (length,) = head, struct.unpack("<Q", rest[:8])
            value, rest = rest[8 : 8 + length], rest[8 + length + 1 :]
        found[name.decode()] = value
        entry = rest
    return found


@given(anything, anything)
def test_json_is_an_object_a_line(message: str, id: str) -> None:
    """Also with line breaks and escapes in it."""
    said = lines.Json().format(record(message, upload_id=id, size_b=7))
    assert "\n" not in said
    told = json.loads(said)
    assert (told["message"], told.get("upload_id", ""), told["size_b"]) == (message, id, 7)
    assert (told["level"], told["logger"]) == ("info", "uploadd.upload")


@given(anything, anything)
def test_the_journal_gets_every_field_as_it_is(message: str, id: str) -> None:
    """A message cannot forge a field."""
    told = read(lines.entry(record(message, upload_id=id, size_b=7)))
    wanted = {
        "MESSAGE": message,
        "PRIORITY": "6",
        "UPLOADD_SIZE_B": "7",
        "LOGGER": "uploadd.upload",
    }
    wanted |= {"SYSLOG_IDENTIFIER": "uploadd"} | ({"UPLOADD_UPLOAD_ID": id} if id else {})
    assert {name: value.decode() for name, value in told.items()} == wanted


def test_a_field_has_its_bound() -> None:
    """The words of a line have none: a traceback is to be read."""
    told = read(lines.entry(record("x" * 5000, client="y" * 5000)))
    assert (len(told["MESSAGE"]), len(told["UPLOADD_CLIENT"])) == (5000, lines.MOST)


def test_lines_go_to_the_journal_where_standard_error_leads_there(tmp_path: Path) -> None:
    """And to standard error where there is no journal, or it does not take them."""
    path = str(tmp_path / "journal")
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as journal,
        (tmp_path / "log").open("w+") as stream,
    ):
        journal.bind(path)
        found = os.fstat(stream.fileno())
        tied = {"JOURNAL_STREAM": f"{found.st_dev}:{found.st_ino}"}
        for form, environment, there in (
            ("auto", tied, True),
            ("auto", {"JOURNAL_STREAM": "1:1"}, False),
            ("auto", {}, False),
            ("text", tied, False),
            ("journal", {}, True),
        ):
            handler = lines.handler(form, stream, environment, journal=path)
            handler.handle(record("hello", upload_id="u"))
            handler.close()
            if there:
                assert read(journal.recv(4096))["UPLOADD_UPLOAD_ID"] == b"u"
        assert stream.read() == ""
        stream.seek(0)
        assert stream.read().count("INFO uploadd.upload hello") == 3
    handler = lines.handler("journal", said := io.StringIO(), {}, journal=path)
    handler.handle(record("nobody listens any more"))
    handler.close()
    assert "nobody listens any more" in said.getvalue()


def test_who_takes_lines_too_late_is_told_how_many_are_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Memory has its bound: whoever reads the log may stand still for days."""
    monkeypatch.setattr(lines, "WAITING", 3)
    queue = SimpleQueue[logging.LogRecord]()
    queued = lines.Queued(queue)
    for number in range(10):
        queued.handle(record(str(number)))
    taken = [queue.get().getMessage() for _ in range(3)]
    for said in ("later", "and later"):
        queued.handle(record(said))
    taken += [queue.get().getMessage() for _ in range(queue.qsize())]
    assert taken[:3] == ["0", "1", "2"]
    assert taken[3].startswith("7 lines are missing here")
    assert taken[4:] == ["later", "and later"]


def test_a_line_is_written_as_it_was_said() -> None:
    """What it was said of may change meanwhile; a traceback stays with it, once."""
    queue = SimpleQueue[logging.LogRecord]()
    queued, told = lines.Queued(queue), ["then"]
    try:
        raise ValueError("of ours")
    except ValueError as error:
        fault = (type(error), error, error.__traceback__)
    for exc_info in (None, fault):
        made = logging.LogRecord("uploadd", logging.ERROR, "", 0, "%s", (told,), exc_info)
        queued.handle(made)
    told[0] = "now"
    assert lines.Text().format(queue.get()).endswith("['then']")
    assert lines.Text().format(queue.get()).count("ValueError: of ours") == 1
