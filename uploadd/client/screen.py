"""Standard error for people: lines, and above them bars where it is a terminal."""

from __future__ import annotations

import os
import sys
from types import TracebackType
from typing import Final, Self

import rich.progress
import trio
from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.text import Text

from uploadd.client.errors import UploadFailed
from uploadd.client.reporter import Meter
from uploadd.client.totals import Totals
from uploadd.protocol.saying import plural, printable, size

BAR_CELLS: Final = 30
NAME_CELLS: Final = 20
OTHER_CELLS: Final = 73  # of a line, beside the bar
STORED_STYLE: Final = "green"
SENT_STYLE: Final = "yellow"
TOTAL_SECONDS: Final = 0.25  # between two looks at the totals


class _TwoShades(rich.progress.ProgressColumn):
    """What is stored, and behind it in another shade what is sent."""

    def __init__(self, cells: int) -> None:
        super().__init__()
        self._cells = cells

    def render(self, task: rich.progress.Task) -> Text:
        stored = self._count(task.completed, task.total)
        sent = max(self._count(task.fields["sent"], task.total), stored)
        return Text.assemble(
            ("━" * stored, STORED_STYLE),
            ("━" * (sent - stored), SENT_STYLE),
            ("─" * (self._cells - sent), "bright_black"),
        )

    def _count(self, count: float, total: float | None) -> int:
        return min(self._cells, int(self._cells * count / total)) if total else 0


class _Numbers(rich.progress.ProgressColumn):
    """``1.2 GiB +16.0 MiB of 4.0 GiB``, 16.0 MiB being sent and not stored."""

    def render(self, task: rich.progress.Task) -> Text:
        text = Text(size(task.completed), style=STORED_STYLE, no_wrap=True)
        ahead = task.fields["sent"] - task.completed
        if ahead > 0:
            text.append(f" +{size(ahead)}", style=SENT_STYLE)
        if task.total is not None:
            text.append(f" of {size(task.total)}", style="default")
        return text


class _Speed(rich.progress.ProgressColumn):
    """What becomes durable in a second."""

    def render(self, task: rich.progress.Task) -> Text:
        return Text(f"{size(task.speed)}/s" if task.speed else "", no_wrap=True)


class _Bar:
    """One line of the bars."""

    def __init__(self, progress: rich.progress.Progress, task: rich.progress.TaskID) -> None:
        self._progress, self._task = progress, task
        self._begun = False

    def show(self, sent: int, stored: int, total: int | None) -> None:
        """See Meter; drawn ten times a second, however often they come."""
        if stored and not self._begun:  # it was there before: no speed follows from it
            self._progress.reset(self._task, completed=stored, sent=sent)
        self._begun = True
        self._progress.update(self._task, completed=stored, total=total, sent=sent)

    def remove(self) -> None:
        """See Meter."""
        self._progress.remove_task(self._task)


class NoBar:
    """Where nothing is drawn."""

    def show(self, sent: int, stored: int, total: int | None) -> None:
        """See Meter."""

    def remove(self) -> None:
        """See Meter."""


class Screen:
    """A Reporter: bars if it is a terminal (or *force*) and they are wanted, and lines above."""

    def __init__(self, *, bars: bool, quiet: bool, force: bool = False) -> None:
        self._quiet = quiet
        self._console = Console(
            stderr=True, highlight=False, soft_wrap=True, force_terminal=True if force else None
        )
        self._progress: rich.progress.Progress | None = None
        if bars and not quiet and self._console.is_terminal:
            self._progress = rich.progress.Progress(
                rich.progress.TextColumn("{task.description}", markup=False),
                _TwoShades(max(5, min(BAR_CELLS, self._console.width - OTHER_CELLS))),
                _Numbers(),
                _Speed(),
                rich.progress.TimeRemainingColumn(compact=True),
                console=self._console,
                transient=True,
                redirect_stdout=False,
                redirect_stderr=False,
            )
        self.counts = self._progress is not None

    def __enter__(self) -> Self:
        if self._progress is not None:
            self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._progress is not None:
            self._progress.stop()

    def meter(self, name: str, total: int | None) -> Meter:
        """See Reporter."""
        if self._progress is None:
            return NoBar()
        task = self._progress.add_task(_short(printable(name)), total=total, sent=0)
        return _Bar(self._progress, task)

    async def follow(self, totals: Totals) -> None:
        """See Reporter: a line for all files, where there are several."""
        if self._progress is None:
            return
        task: rich.progress.TaskID | None = None
        try:
            while True:
                if task is None and totals.expected > 1:
                    task = self._progress.add_task("", total=None, sent=0)
                if task is not None:
                    self._show(task, totals)
                await trio.sleep(TOTAL_SECONDS)
        finally:
            if task is not None:
                self._progress.remove_task(task)

    def _show(self, task: rich.progress.TaskID, totals: Totals) -> None:
        assert self._progress is not None
        more = "" if totals.counted else "+"
        files = f"{totals.stored} of {plural(totals.expected, 'file')}{more}"
        self._progress.update(
            task,
            description=files[:NAME_CELLS],
            completed=totals.durable,
            total=totals.bytes if totals.counted else None,
            sent=totals.durable,
        )

    def say(self, line: str) -> None:
        """See Reporter."""
        if not self._quiet:
            self.insist(line)

    def insist(self, line: str) -> None:
        """See Reporter."""
        self._console.print(Text(printable(line)))

    def fail(self, what: str, error: UploadFailed) -> None:
        """See Reporter."""
        self.insist(f"{what}: {error.message}")
        self.insist(f"→ {error.hint}")

    def result(self, line: str) -> None:
        """See Reporter; when nobody reads it any more, the files are stored all the same."""
        if self._progress is not None:
            self._progress.stop()  # it may be the same terminal
        try:
            print(f"{line}\n", end="", flush=True)  # in one piece: others may write too
        except BrokenPipeError:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, sys.stdout.fileno())
            os.close(nowhere)
        if self._progress is not None:
            self._progress.start()


def _short(name: str) -> str:
    """*name* cut in its middle, so that its suffix is still to be seen."""
    if cell_len(name) <= NAME_CELLS:
        return name
    return f"{set_cell_size(name, NAME_CELLS - 9).rstrip()}…{name[-8:]}"
