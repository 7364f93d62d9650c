"""What peers are refused, in the log: with the code and the request that they were told."""

from __future__ import annotations

import logging
from collections import Counter
from typing import Final

import trio

from uploadd.errors import UploadError
from uploadd.protocol.answers import answer
from uploadd.protocol.saying import printable
from uploadd.protocol.upload import Upload
from uploadd.tally import Tally

log = logging.getLogger("uploadd.refused")
MINUTE: Final = 60.0
MOST: Final = 20
"""Lines a minute with the same code: whoever floods us shall not fill the log, nor hide in it what
others are refused."""


class Refusals:
    """Counts them, and writes them down by the level that the table of answers gives them."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self._until = float("-inf")
        self._told: Counter[str] = Counter()
        """By code, in this minute; those that were not written, too."""

    def tell(self, error: UploadError, request: str, upload: Upload | None = None) -> None:
        """Who made *request* is told *error*, about *upload*."""
        self._tally.refused(error)
        level = logging.getLevelNamesMapping()[answer(error).level.upper()]
        if not log.isEnabledFor(level):
            return
        if (now := trio.current_time()) >= self._until:
            self._begin(now)
        self._told[error.code] += 1
        if self._told[error.code] > MOST:
            return
        id = upload.id if upload is not None else ""
        about, why = f" of {id}" if id else "", _why(error, level)
        log.log(
            level,
            *("%s%s was refused, %s: %s%s", request, about, error.code),
            *(_line(error.message), f" ({_line(why)})" if why else ""),
            extra={"uploadd": {"request_id": request, "code": error.code, "upload_id": id}},
        )

    def _begin(self, now: float) -> None:
        """Another minute; what was too much in the last is at least counted."""
        for code, count in self._told.items():
            if count > MOST:
                log.warning("%d more were refused within a minute, %s", count - MOST, code)
        self._until = now + MINUTE
        self._told.clear()


def _line(text: str) -> str:
    """*text*, of which peers may have chosen parts, as one line."""
    return printable(text).replace("\n", " ")


def _why(error: UploadError, level: int) -> str:
    """What is behind *error*, which peers are not told: where it is for us to mend.

    The innermost of our own words, which say where and what; of an OSError never its file's name.
    """
    if level < logging.WARNING or error.__cause__ is None:
        return ""
    found = cause = error.__cause__
    while cause.__cause__ is not None:
        cause = cause.__cause__
        found = cause if isinstance(cause, UploadError) else found
    told = found.strerror if isinstance(found, OSError) else str(found)
    return told or type(found).__name__
