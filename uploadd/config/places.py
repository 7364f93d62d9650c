"""Where in a TOML file a key stands: tomllib tells no places.  Pure."""

from __future__ import annotations

import re
from typing import Final

from uploadd.config.problems import Place, Problem

_WORD: Final = r"""(?:[\w-]+|"[^"]*"|'[^']*')"""
_GIVEN = re.compile(rf"\s*(\[?\[?)\s*({_WORD}(?:\s*\.\s*{_WORD})*)\s*[\]=]")
_BARE = re.compile(r"\s*([\w-]+)\s*=\s*([^\s\"'\[{#][^#]*?)\s*(?:#.*)?")


def place(text: str, name: str, *path: str) -> Place:
    """Where *path* is given, or the nearest to it that a small scan finds.

    A multi-line string that looks like settings can mislead the scan; then a message names the
    wrong line, and the values are right all the same.
    """
    here: list[str] = []
    depth_found, found = 0, Place(name, 1)
    for number, line in enumerate(text.split("\n"), 1):
        if not (given := _GIVEN.match(line)):
            continue
        words = [word.strip("\"'") for word in re.findall(_WORD, given[2])]
        here = words if given[1] else here
        whole = here if given[1] else here + words
        depth = min(len(whole), len(path))
        if whole[:depth] == list(path[:depth]) and depth > depth_found:
            depth_found = depth
            column, width = _span(line, given, path[-1])
            found = Place(name, number, column, width, line.rstrip("\r"))
    return found


def _span(line: str, given: re.Match[str], word: str) -> tuple[int, int]:
    """Column and width of *word* in *line*, or of all that is *given* there."""
    exact = re.search(rf"(?<![\w-]){re.escape(word)}(?![\w-])", line)
    start, end = exact.span() if exact else given.span(2)
    return start, end - start


def syntax(text: str, name: str, error: ValueError) -> Problem:
    """The parser's message with its place; *error* may be Python's own about endless numbers."""
    found = re.fullmatch(r"(.*) \(at line (\d+), column (\d+)\)", str(error), re.DOTALL)
    if not found:
        return Problem(Place(name), str(error))
    number, column = int(found[2]), int(found[3]) - 1
    line = text.split("\n")[number - 1].rstrip("\r")
    hint = ""
    if bare := _BARE.fullmatch(line):
        hint = f'text, sizes and durations stand in quotes: {bare[1]} = "{bare[2]}"'
    return Problem(Place(name, number, column, 1, line, exact=True), found[1], hint)
