"""What is wrong with a configuration: where, what, and what to write instead.  Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

_WIDTH: Final = 96  # of a quoted line


class Place(NamedTuple):
    """Where somebody wrote something: a line of a file, a variable, a flag."""

    name: str
    line: int = 0
    """From 1; 0 when *name* has no lines."""
    column: int = 0
    """From 0, where in *text* it stands."""
    width: int = 0
    text: str = ""
    """The line itself."""
    exact: bool = False
    """Whether the column is worth telling: editors jump to it."""

    def __str__(self) -> str:
        where = f"{self.name}:{self.line}" if self.line else self.name
        return f"{where}:{self.column + 1}" if self.exact else where


class Problem(NamedTuple):
    """One mistake; as text it has a line for what happened and one for what to write."""

    place: Place
    message: str
    hint: str = ""

    def __str__(self) -> str:
        lines = [f"{self.place}: {self.message}"]
        if self.place.text:
            number = f"{self.place.line:5}"
            carets = "^" * max(1, min(self.place.width, _WIDTH - self.place.column))
            lines.append(f"{number} │ {_printable(self.place.text)}")
            lines.append(f"{'':5} │ {'':{self.place.column}}{carets} {self.hint}".rstrip())
        elif self.hint:
            lines.append(f"→ {self.hint}")
        return "\n".join(lines)


class ConfigError(Exception):
    """The configuration cannot be used; ``problems`` has every mistake there is."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = tuple(problems)


def _printable(line: str) -> str:
    """*line*, one column for each character, cut at the width."""
    return "".join(char if char.isprintable() else " " for char in line[:_WIDTH])
