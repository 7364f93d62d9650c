"""Who says something to people: what the commands ask of a screen, or of lines for a log."""

from __future__ import annotations

from typing import Protocol

from uploadd.client.errors import UploadFailed
from uploadd.client.totals import Totals


class Meter(Protocol):
    """How far one file is."""

    def show(self, sent: int, stored: int, total: int | None) -> None:
        """The newest numbers, in bytes."""

    def remove(self) -> None:
        """It is under way no more."""


class Reporter(Protocol):
    """Where the commands say something."""

    counts: bool
    """Whether it wants to know before the end how many files there are."""

    def meter(self, name: str, total: int | None) -> Meter:
        """For a file that begins."""

    async def follow(self, totals: Totals) -> None:
        """Show how far the whole is, until cancelled."""

    def say(self, line: str) -> None:
        """A line that --quiet leaves out."""

    def insist(self, line: str) -> None:
        """A line that is always said."""

    def fail(self, what: str, error: UploadFailed) -> None:
        """What happened, why, what to type."""

    def result(self, line: str) -> None:
        """A line of standard output, which is all that a script reads."""
