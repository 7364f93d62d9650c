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
others are refused for other reasons; what has the same code is only counted then."""


class Refusals:
    """Counts them, and writes them down by the level that the table of answers gives them."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self._until = float("-inf")
        self._told: Counter[tuple[str, int]] = Counter()
        """By code and its level, in this minute; those that were not written, too."""

    def tell(self, error: UploadError, request: str, upload: Upload | None = None) -> None:
        """Who made *request* is told *error*, about *upload*."""
        self._tally.refused(error)
        level = logging.getLevelNamesMapping()[answer(error).level.upper()]
        if not log.isEnabledFor(level):
            return
        now = trio.current_time()
        self.look_after(now)
        if not self._told:
            self._until = now + MINUTE
        self._told[error.code, level] += 1
        if self._told[error.code, level] > MOST:
            return
        id = upload.id if upload is not None else ""
        about, why = f" of {id}" if id else "", _why(error, level)
        log.log(
            level,
            *("%s%s was refused, %s: %s%s", request, about, error.code),
            *(_line(error.message), f" ({_line(why)})" if why else ""),
            extra={"uploadd": {"request_id": request, "code": error.code, "upload_id": id}},
        )

    def look_after(self, now: float) -> None:
        """See whether the minute is over; to be called now and then with trio's clock."""
        if now >= self._until:
            self.sum_up()

    def sum_up(self) -> None:
        """Say how many more there were than were written, and begin another minute."""
        for (code, level), count in self._told.items():
            if count > MOST:
                about = {"uploadd": {"code": code}}
                more = "%d more were refused within a minute, %s"
                log.log(level, more, count - MOST, code, extra=about)
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
