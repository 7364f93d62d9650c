"""Standard output for programs: a URL for each file, or (``--json``) an object for each."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import NamedTuple, Protocol

from uploadd.client.errors import UploadFailed
from uploadd.client.reporter import Reporter
from uploadd.client.selection import Item
from uploadd.client.session import Stored


class Outcome(NamedTuple):
    """What became of one file: stored, or not because of an error."""

    item: Item
    seconds: float
    stored: Stored | None = None
    error: UploadFailed | None = None


class Output(Protocol):
    """Where outcomes are told."""

    def tell(self, outcome: Outcome) -> None:
        """One file, in its turn."""

    def close(self, summary: Mapping[str, object]) -> None:
        """The last word."""


class Urls:
    """One URL a line, of what is stored."""

    def __init__(self, reporter: Reporter) -> None:
        self._reporter = reporter

    def tell(self, outcome: Outcome) -> None:
        """See Output."""
        if outcome.stored is not None:
            self._reporter.result(outcome.stored.url)

    def close(self, summary: Mapping[str, object]) -> None:
        """See Output."""


class JsonLines:
    """One JSON object a line, of every file; the last has the one member ``summary``."""

    def __init__(self, reporter: Reporter) -> None:
        self._reporter = reporter

    def tell(self, outcome: Outcome) -> None:
        """See Output."""
        stored, error, item = outcome.stored, outcome.error, outcome.item
        told = error and {"code": error.code, "message": error.message, "hint": error.hint}
        members = {
            "path": text(item.path),
            "url": stored.url if stored else None,
            "id": stored.id if stored else None,
            "length": stored.length if stored else item.size,
            "seconds": round(outcome.seconds, 3),
            "resumed": stored is not None and stored.resumed,
            "error": told,
        }
        self.write(members)

    def close(self, summary: Mapping[str, object]) -> None:
        """See Output."""
        self.write({"summary": summary})

    def write(self, members: Mapping[str, object]) -> None:
        """One object."""
        self._reporter.result(json.dumps(members))


def output(reporter: Reporter, *, as_json: bool) -> Urls | JsonLines:
    """What the command line asks for."""
    return JsonLines(reporter) if as_json else Urls(reporter)


def text(path: str) -> str:
    """*path* as text: what is not UTF-8 in it cannot be said in JSON."""
    return os.fsencode(path).decode("utf-8", "replace")
