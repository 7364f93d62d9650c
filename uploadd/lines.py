"""How lines of the log are written: as text, as JSON, or to systemd's journal with fields.

What a line is about beside its words stands in its ``extra={"uploadd": {...}}``.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import struct
import time
from collections.abc import Iterator, Mapping
from logging.handlers import QueueHandler, QueueListener
from queue import SimpleQueue
from threading import Thread
from typing import Final, TextIO

from uploadd.protocol.saying import plural
from uploadd.protocol.upload import Upload
from uploadd.tally import Way

log = logging.getLogger("uploadd.upload")
JOURNAL: Final = "/run/systemd/journal/socket"
MOST: Final = 1024
"""Characters of one field; the words of a line may have more, or a traceback would be cut."""
WAITING: Final = 20_000
"""Lines that may wait until somebody takes them, some 20 MiB; the rest is only counted."""
PRIORITIES: Final = {
    logging.DEBUG: 7,
    logging.INFO: 6,
    logging.WARNING: 4,
    logging.ERROR: 3,
    logging.CRITICAL: 2,
}


def handler(
    form: str, stream: TextIO, environment: Mapping[str, str], *, journal: str = JOURNAL
) -> logging.Handler:
    """What writes lines in this *form*, a value of ``log.format``, to *stream* or the journal."""
    if form == "journal" or (form == "auto" and leads_to_journal(stream, environment)):
        return Journal(stream, journal)
    made = logging.StreamHandler(stream)
    made.setFormatter(Json() if form == "json" else Text())
    return made


def leads_to_journal(stream: TextIO, environment: Mapping[str, str]) -> bool:
    """Whether systemd has tied *stream* to its journal (systemd.exec(5), ``JOURNAL_STREAM``)."""
    try:
        found = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return environment.get("JOURNAL_STREAM") == f"{found.st_dev}:{found.st_ino}"


class Queued(QueueHandler):
    """Hands lines to the thread that writes them, which may stand still: a line never waits."""

    queue: SimpleQueue[logging.LogRecord]

    def __init__(self) -> None:
        super().__init__(SimpleQueue())
        self._missing = 0  # guarded by the lock that every handler has

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        """What is said by now, as words: what is in it may change.

        No other handler has the record, so it need not be copied.
        """
        record.msg, record.args = self.format(record), None
        record.exc_info = record.exc_text = record.stack_info = None  # they are in the words
        return record

    def enqueue(self, record: logging.LogRecord) -> None:
        """Put it there, or count it: so are all from the first that is missing on, until `gap`."""
        has_room = not self._missing and self.queue.qsize() < WAITING
        if has_room or record.levelno >= logging.CRITICAL:
            self.queue.put(record)
        else:
            self._missing += 1

    def gap(self) -> int:
        """How many are missing after all that waited was taken; from now on there is room."""
        if not self._missing:  # if there are soon, much waits that is taken before
            return 0
        count = 0
        self.acquire()
        try:
            if self.queue.empty():
                count, self._missing = self._missing, 0
        finally:
            self.release()
        return count


class Writer(QueueListener):
    """The thread that writes the lines; nothing else writes to their stream while it runs."""

    queue: SimpleQueue[logging.LogRecord]

    def __init__(self, queued: Queued, told: logging.Handler) -> None:
        super().__init__(queued.queue, told)
        self._queued = queued

    def say(self, text: str, level: int) -> None:
        """Have *text* stand among the lines whatever ``log.level`` is, and for people bare."""
        self.queue.put(Said(text, level))

    def handle(self, record: logging.LogRecord) -> None:
        """Write it, and behind the last that waited how many are missing."""
        super().handle(record)
        self._tell_gap()

    def stop(self) -> None:
        """Write what was said until now."""
        super().stop()
        self._tell_gap()

    def stop_within(self, seconds: float) -> bool:
        """Write what was said until now; False: it was not taken in time, and may never be."""
        ending = Thread(target=self.stop, daemon=True)
        ending.start()
        ending.join(seconds)
        return not ending.is_alive()

    def _tell_gap(self) -> None:
        if count := self._queued.gap():
            verb = "is" if count == 1 else "are"
            missing = f"{plural(count, 'line')} {verb} missing here"
            said = f"{missing}: those before were not taken in time"
            line = logging.LogRecord("uploadd", logging.WARNING, "", 0, said, None, None)
            super().handle(line)


class Said(logging.LogRecord):
    """Words that people get as they are, such as the address at which it serves."""

    def __init__(self, text: str, level: int) -> None:
        super().__init__("uploadd", level, "", 0, text, None, None)


class Text(logging.Formatter):
    """For people."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        return record.getMessage() if isinstance(record, Said) else super().format(record)


class Json(logging.Formatter):
    """One object a line, whatever is in it."""

    def format(self, record: logging.LogRecord) -> str:
        """The object."""
        seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        told: dict[str, object] = {
            "time": f"{seconds}.{int(record.msecs):03}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": _words(record),
        }
        told |= dict(_fields(record))
        return json.dumps(told)


class Journal(logging.Handler):
    """Datagrams of journald's own protocol; what cannot be sent goes to *stream*, as text."""

    def __init__(self, stream: TextIO, path: str) -> None:
        super().__init__()
        self._path, self._other = path, logging.StreamHandler(stream)
        self._other.setFormatter(Text())
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)

    def emit(self, record: logging.LogRecord) -> None:
        """Write it."""
        try:
            self._socket.sendto(entry(record), self._path)
        except OSError:  # no journal, or a line beyond the size of a datagram
            self._other.emit(record)

    def close(self) -> None:
        """Let go of the socket."""
        self._socket.close()
        super().close()


def entry(record: logging.LogRecord) -> bytes:
    """*record* in the protocol of the journal (systemd.io/JOURNAL_NATIVE_PROTOCOL)."""
    fields = {
        "MESSAGE": _words(record),
        "PRIORITY": str(PRIORITIES.get(record.levelno, 6)),
        "SYSLOG_IDENTIFIER": "uploadd",
        "LOGGER": record.name,
    }
    fields |= {f"UPLOADD_{name.upper()}": str(value) for name, value in _fields(record)}
    return b"".join(_line(name, value.encode("utf-8", "replace")) for name, value in fields.items())


def _line(name: str, value: bytes) -> bytes:
    if b"\n" not in value:
        return name.encode() + b"=" + value + b"\n"
    return name.encode() + b"\n" + struct.pack("<Q", len(value)) + value + b"\n"


def _words(record: logging.LogRecord) -> str:
    """What a line says; a traceback stays with it.  (The queue has put both into the message.)"""
    return record.getMessage()


def _fields(record: logging.LogRecord) -> Iterator[tuple[str, object]]:
    told: Mapping[str, object] = getattr(record, "uploadd", {})
    for name, value in told.items():
        if value not in ("", None):
            yield name, value[:MOST] if isinstance(value, str) else value


def told_end(upload: Upload, way: Way, seconds: float) -> None:
    """The one line that there is of *upload*, when it has ended."""
    state = upload.state.value
    log.info(
        "%s%s %s, %d bytes, %.1f s after it began",
        *(way.id and f"{way.id} ", state, upload.id, upload.offset, seconds),
        extra={
            "uploadd": {
                "upload_id": upload.id,
                "event": state,
                "protocol": way.wire,
                "request_id": way.id,
                "size_b": upload.offset,
                "duration_s": round(seconds, 3),
            }
        },
    )
