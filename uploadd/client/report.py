"""What the commands say to people: sizes, times, errors, and the bars.  All of it on stderr."""

from __future__ import annotations

from types import TracebackType
from typing import Final, Self

import rich.progress
from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.text import Text

from uploadd.client.errors import UploadFailed

BAR_CELLS: Final = 30
NAME_CELLS: Final = 20
OTHER_CELLS: Final = 73  # of a line, beside the bar
STORED_STYLE: Final = "green"
SENT_STYLE: Final = "yellow"
UNITS: Final = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


def size(count: float) -> str:
    """*count* bytes: ``12.4 GiB``."""
    for unit in UNITS:
        if count < 1024 or unit == UNITS[-1]:
            break
        count /= 1024
    return f"{count:.0f} B" if unit == "B" else f"{count:.1f} {unit}"


def duration(seconds: float) -> str:
    """``0.8s``, ``41s``, ``2m 11s``, ``1h 04m``."""
    if seconds < 10:
        return f"{seconds:.1f}s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m {whole % 60:02}s"
    return f"{whole // 3600}h {whole % 3600 // 60:02}m"


def plural(count: int, noun: str) -> str:
    """``1 file``, ``3 files``."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


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


class Bar:
    """One line of ``Bars``."""

    def __init__(self, progress: rich.progress.Progress, task: rich.progress.TaskID) -> None:
        self._progress, self._task = progress, task

    def show(self, sent: int, stored: int, total: int | None) -> None:
        """The newest numbers, in bytes; drawn ten times a second, however often they come."""
        self._progress.update(self._task, completed=stored, total=total, sent=sent)

    def remove(self) -> None:
        """Take the line away."""
        self._progress.remove_task(self._task)


class Screen:
    """Standard error: bars if it is a terminal and they are wanted, and lines above them."""

    def __init__(self, *, bars: bool, quiet: bool) -> None:
        self._quiet = quiet
        self._console = Console(stderr=True, highlight=False, soft_wrap=True)
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

    def bar(self, name: str, total: int | None) -> Bar | None:
        """A new bar; None where none are shown."""
        if self._progress is None:
            return None
        task = self._progress.add_task(_short(_printable(name)), total=total, sent=0)
        return Bar(self._progress, task)

    def say(self, line: str) -> None:
        """A line that --quiet leaves out."""
        if not self._quiet:
            self.insist(line)

    def insist(self, line: str) -> None:
        """A line that is always said."""
        self._console.print(Text(_printable(line)))

    def fail(self, what: str, error: UploadFailed) -> None:
        """What happened, why, what to type."""
        self.insist(f"{what}: {error.message}")
        if error.hint:
            self.insist(f"→ {error.hint}")

    def result(self, line: str) -> None:
        """A line of standard output, which is all that a script reads."""
        if self._progress is not None:
            self._progress.stop()  # it may be the same terminal
        print(line, flush=True)
        if self._progress is not None:
            self._progress.start()


def _short(name: str) -> str:
    """*name* cut in its middle, so that its suffix is still to be seen."""
    if cell_len(name) <= NAME_CELLS:
        return name
    return f"{set_cell_size(name, NAME_CELLS - 9).rstrip()}…{name[-8:]}"


def _printable(text: str) -> str:
    """*text* without what a terminal would obey, from file names and servers alike."""
    clean = "".join(
        c if c.isprintable() or c == "\n" else "\N{REPLACEMENT CHARACTER}" for c in text
    )
    return clean.encode("utf-8", "replace").decode()
