"""A line of the log is one line, whatever is in it, and keeps what it is about."""

from __future__ import annotations

import io
import json
import logging
import os
import socket
import struct
from pathlib import Path
from threading import Event
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


class Taken(logging.Handler):
    """What was written; it stands still at "stuck" until it *goes_on*."""

    def __init__(self) -> None:
        super().__init__()
        self.words: list[str] = []
        self.is_stuck, self.goes_on = Event(), Event()

    def emit(self, record: logging.LogRecord) -> None:
        """Write it."""
        if record.getMessage() == "stuck":
            self.is_stuck.set()
            assert self.goes_on.wait(60)
        self.words.append(record.getMessage())


def take(writer: lines.Writer, count: int) -> None:
    """What the thread of *writer* does with the next *count* lines."""
    for _ in range(min(count, writer.queue.qsize())):
        writer.handle(writer.queue.get_nowait())


@given(st.lists(st.integers(-4, 9)))
def test_the_count_stands_exactly_where_lines_are_missing(steps: list[int]) -> None:
    """So many are said, or taken, in turn; those that wait have their bound."""
    queued, taken, said = lines.Queued(), Taken(), 0
    writer = lines.Writer(queued, taken)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lines, "WAITING", 3)
        for step in [*steps, -3]:
            for _ in range(step):
                queued.handle(record(str(said)))
                said += 1
            take(writer, -step)
            assert queued.queue.qsize() <= 3
    number = 0
    for line in taken.words:
        first, _, more = line.partition(" ")
        assert more.startswith(("line is missing here", "lines are missing here") if more else "")
        assert more or int(first) == number
        number += int(first) if more else 1
    assert number == said


def test_once_lines_are_missing_there_is_room_when_all_were_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One gap, and not one for each line that is taken."""
    monkeypatch.setattr(lines, "WAITING", 3)
    queued, taken = lines.Queued(), Taken()
    writer = lines.Writer(queued, taken)
    for number in range(6):
        queued.handle(record(str(number)))
    for _ in range(3):
        queued.handle(record("too early"))
        take(writer, 1)
    queued.handle(record("in time"))
    take(writer, 1)
    told = "6 lines are missing here: those before were not taken in time"
    assert taken.words == ["0", "1", "2", told, "in time"]


def test_what_is_critical_waits_where_nothing_else_may(monkeypatch: pytest.MonkeyPatch) -> None:
    """As why the daemon has stopped; and what the writer itself is to say."""
    monkeypatch.setattr(lines, "WAITING", 1)
    queued, taken = lines.Queued(), Taken()
    writer = lines.Writer(queued, taken)
    for word, level in (("first", 20), ("error", 40), ("critical", 50), ("info", 20)):
        queued.handle(logging.LogRecord("uploadd", level, "", 0, word, None, None))
    writer.say("refused", logging.ERROR)
    take(writer, 9)
    assert taken.words[:3] == ["first", "critical", "refused"]
    assert taken.words[3].startswith("2 lines are missing here")


def test_at_the_end_the_count_is_said_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    """The end was said while lines still waited."""
    monkeypatch.setattr(lines, "WAITING", 1)
    queued, taken = lines.Queued(), Taken()

    class Ending(lines.Writer):
        def enqueue_sentinel(self) -> None:
            super().enqueue_sentinel()
            taken.goes_on.set()

    for word in ("stuck", "missing"):
        queued.handle(record(word))
    writer = Ending(queued, taken)
    writer.start()
    assert writer.stop_within(60.0)
    told = "1 line is missing here: those before were not taken in time"
    assert taken.words == ["stuck", told]


def test_the_end_waits_no_longer_than_it_may() -> None:
    """All that was said is written where somebody takes it."""
    for word, is_taken in (("last", True), ("stuck", False)):
        queued, taken = lines.Queued(), Taken()
        for said in ("first", word):
            queued.handle(record(said))
        writer = lines.Writer(queued, taken)
        writer.start()
        assert is_taken or taken.is_stuck.wait(60)
        assert writer.stop_within(60.0 if is_taken else 0.0) is is_taken
        assert taken.words == ["first", "last"][: 1 + is_taken]
        taken.goes_on.set()


@given(anything)
def test_what_the_writer_itself_says_is_bare_for_people(words: str) -> None:
    """And for programs a line as any other."""
    queued = lines.Queued()
    lines.Writer(queued, Taken()).say(words, logging.ERROR)
    said = queued.queue.get_nowait()
    assert lines.Text().format(said) == words
    told = json.loads(lines.Json().format(said))
    assert (told["message"], told["level"], told["logger"]) == (words, "error", "uploadd")
    assert read(lines.entry(said))["MESSAGE"] == words.encode()


def test_a_line_is_written_as_it_was_said() -> None:
    """What it was said of may change meanwhile; a traceback stays with it, once."""
    queued, told = lines.Queued(), ["then"]
    try:
        raise ValueError("of ours")
    except ValueError as error:
        fault = (type(error), error, error.__traceback__)
    for exc_info in (None, fault):
        made = logging.LogRecord("uploadd", logging.ERROR, "", 0, "%s", (told,), exc_info)
        queued.handle(made)
    told[0] = "now"
    assert lines.Text().format(queued.queue.get_nowait()).endswith("['then']")
    assert lines.Text().format(queued.queue.get_nowait()).count("ValueError: of ours") == 1
