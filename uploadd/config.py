"""Configuration: text in, one frozen ``Config`` out.  Pure: reading the file is the caller's.

Each layer lies over the one before: the defaults in ``settings.py``, the TOML file, ``--set
section.key=value``, and last the flags of the command line that have a name of their own.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, Literal, NamedTuple, get_args, get_origin

import msgspec

from uploadd.settings import KINDS, SETTINGS, Config, show

__all__ = ["Config", "ConfigError", "load"]


class ConfigError(Exception):
    """The configuration cannot be used; ``problems`` names every mistake, a line of text each."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


class _Given(NamedTuple):
    """A value that somebody wrote: where, for which setting, and the ways to read it."""

    where: str
    section: str
    key: str
    readings: tuple[object, ...]


def load(
    file_text: str | None = None,
    file_name: str | None = None,
    sets: Sequence[str] = (),
    overrides: Mapping[str, object] | None = None,
) -> Config:
    """The configuration of all layers together.

    *sets* are texts ``section.key=value``, the value in TOML or plain.  *overrides* maps
    ``section.key`` to a value; None means that the flag was not given.  Raises ConfigError with
    every mistake of every layer, also of values that a later layer covers.
    """
    problems: list[str] = []
    values: dict[str, dict[str, Any]] = {section: {} for section in SETTINGS}
    for one in chain(
        _from_file(file_text or "", file_name or "configuration"),
        _from_sets(sets),
        _from_flags(overrides or {}),
    ):
        if isinstance(one, str):
            problems.append(one)
            continue
        try:
            values[one.section][one.key] = _settle(one)
        except ValueError as error:
            problems.append(f"{one.where}: {error}")
    sections: dict[str, Any] = {name: kind(**values[name]) for name, kind in KINDS.items()}
    config = Config(**sections)
    # A value that could not be read stands at its default here, and proves nothing.
    if problems := problems or list(_contradictions(config)):
        raise ConfigError(problems)
    return config


def _contradictions(config: Config) -> Iterator[str]:
    """What is wrong between settings each of which is right alone."""
    if config.timeouts.ping >= config.timeouts.idle:
        yield "timeouts.ping must be shorter than timeouts.idle: quiet sessions would be cut"
    if config.limits.max_chunk * 4 > config.limits.memory:
        yield "limits.memory must hold four of limits.max_chunk: one session needs as much"


def _settle(given: _Given) -> object:
    """The value of the first reading that fits its setting; raises ValueError of the first."""
    if given.section not in SETTINGS:
        raise ValueError(f'unknown section "{given.section}"{_meant(given.section, SETTINGS)}')
    field = SETTINGS[given.section].get(given.key)
    if field is None:
        raise ValueError(_unknown_key(given.section, given.key))
    first: ValueError | None = None
    for reading in given.readings:
        try:
            return _convert(reading, field.type)
        except ValueError as error:
            first = first or error
    raise ValueError(f"{given.section}.{given.key}: {first}")


_PLAIN = {"Expected": "expected", "`int`": "a whole number", "`str`": "text"}
_PLAIN |= {" >= ": " of at least ", " <= ": " of at most "}


def _convert(value: object, kind: Any) -> object:
    """*value* as a setting of the annotated type *kind*; raises ValueError."""
    read = value
    for mark in getattr(kind, "__metadata__", ()):
        if callable(mark):
            read = mark(value)
    try:
        return msgspec.convert(read, kind)
    except msgspec.ValidationError as error:
        if get_origin(kind) is Literal:
            choices = " or ".join(show(choice) for choice in get_args(kind))
            raise ValueError(f"expected {choices}, not {show(value)}") from None
        expected = str(error).split(", got")[0]
        for theirs, ours in _PLAIN.items():
            expected = expected.replace(theirs, ours)
        raise ValueError(f"{expected}, not {show(value)}") from None


def _from_sets(sets: Sequence[str]) -> Iterator[_Given | str]:
    for text in sets:
        name, equals, value = (part.strip() for part in text.partition("="))
        section, key = _split(name)
        if not (equals and section and key):
            yield f"--set {text}: write it as section.key=value"
        else:
            # TOML when it parses, plain text, a list with commas: whichever fits first.
            yield _Given("--set", section, key, (*_toml(value), value, value.split(",")))


def _from_flags(overrides: Mapping[str, object]) -> Iterator[_Given]:
    for name, value in overrides.items():
        if value is not None:
            yield _Given("command line", *_split(name), (value,))


def _toml(value: str) -> tuple[object, ...]:
    """*value* read as one TOML value, or nothing when it is none."""
    try:
        tree = tomllib.loads(f"value = {value}")
    except ValueError:  # TOMLDecodeError, or Python's own about a number of 4300 digits
        return ()
    return (tree["value"],) if len(tree) == 1 else ()


def _split(name: str) -> tuple[str, str]:
    section, _, key = name.partition(".")
    return section, key


# --- the file, and where in it ------------------------------------------------------------------

_WORD = r"""(?:[\w-]+|"[^"]*"|'[^']*')"""
_PLACE = re.compile(rf"\s*(\[?\[?)\s*({_WORD}(?:\s*\.\s*{_WORD})*)\s*[\]=]")


def _from_file(text: str, name: str) -> Iterator[_Given | str]:
    text = text.removeprefix("\ufeff")
    try:
        tree = tomllib.loads(text)
    except ValueError as error:  # TOMLDecodeError, or Python's own about endless numbers
        yield _syntax(name, error)
        return
    for section, body in tree.items():
        where = f"{name}:{_line(text, section)}"
        if section not in SETTINGS and isinstance(body, dict):
            yield f'{where}: unknown section "{section}"{_meant(section, SETTINGS)}'
        elif not isinstance(body, dict):
            yield f"{where}: {_homeless(section)}"
        else:
            for key, value in body.items():
                yield _Given(f"{name}:{_line(text, section, key)}", section, key, (value,))


def _syntax(name: str, error: ValueError) -> str:
    """The parser's message in the form file:line:column: message."""
    found = re.fullmatch(r"(.*) \(at line (\d+), column (\d+)\)", str(error), re.DOTALL)
    return f"{name}:{found[2]}:{found[3]}: {found[1]}" if found else f"{name}: {error}"


def _line(text: str, *path: str) -> int:
    """The line, from 1, where *path* is given, or the nearest to it that a small scan finds.

    tomllib tells no places.  A multi-line string that looks like settings can mislead the scan;
    then a message names the wrong line, and the values are right all the same.
    """
    here: list[str] = []
    best = (0, 1)
    for number, line in enumerate(text.split("\n"), 1):
        if not (found := _PLACE.match(line)):
            continue
        words = [word.strip("\"'") for word in re.findall(_WORD, found[2])]
        here = words if found[1] else here
        whole = here if found[1] else here + words
        depth = min(len(whole), len(path))
        if whole[:depth] == list(path[:depth]) and depth > best[0]:
            best = (depth, number)
    return best[1]


def _homeless(key: str) -> str:
    if key in SETTINGS:
        return f'"{key}" is a section: write [{key}], once'
    return f'"{key}" stands outside of a section{_home(key)}'


def _unknown_key(section: str, key: str) -> str:
    hint = _meant(key, SETTINGS[section]) if key else ""
    return f'unknown key "{key}" in [{section}]{_home(key) or hint}'


def _home(key: str) -> str:
    """Where *key* would be right, for a message."""
    return next((f"; it belongs to [{s}]" for s, keys in SETTINGS.items() if key in keys), "")


def _meant(word: str, known: Mapping[str, object]) -> str:
    near = difflib.get_close_matches(word, known, n=1)
    return f'; did you mean "{near[0]}"?' if near else ""
