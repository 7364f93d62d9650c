"""Structured fields (RFC 9651): items and dictionaries, strictly; parameters are read and dropped.

What is malformed is None, never an error: such a field counts as absent (section 4.2).
"""

from __future__ import annotations

import binascii
import re
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Final, TypeAlias, TypeVar, cast
from urllib.parse import unquote_to_bytes

MAX_INTEGER: Final = 999_999_999_999_999
"""The largest integer that can be said: fifteen digits."""


@dataclass(frozen=True, slots=True)
class Token:
    """A word without quotes."""

    text: str


@dataclass(frozen=True, slots=True)
class Date:
    """Seconds since the epoch."""

    seconds: int


@dataclass(frozen=True, slots=True)
class Display:
    """Text of any script, for people."""

    text: str


Bare: TypeAlias = bool | int | Decimal | str | bytes | Token | Date | Display
Member: TypeAlias = Bare | tuple[Bare, ...]
"""The value of a dictionary's key: an item, or an inner list."""

# No two alternatives begin alike, and none can match in two ways: no input takes long.
_BARE: Final = re.compile(
    r"(?P<integer>-?[0-9]{1,15})(?![0-9.])"
    r"|(?P<decimal>-?[0-9]{1,12}\.[0-9]{1,3})(?![0-9])"
    r'|"(?P<string>(?:[ !#-\[\]-~]|\\["\\])*)"'
    r"|(?P<token>[A-Za-z*][!#$%&'*+\-.^_`|~0-9A-Za-z:/]*)"
    r"|:(?P<bytes>[A-Za-z0-9+/]*)(?P<padding>=*):"
    r"|\?(?P<boolean>[01])"
    r"|@(?P<date>-?[0-9]{1,15})(?![0-9.])"
    r'|%"(?P<display>(?:[ !#$&-~]|%[0-9a-f]{2})*)"'
)
_KEY: Final = re.compile(r"[a-z*][a-z0-9_.*-]*")
_SPACES: Final = re.compile(r" *")
_COMMA: Final = re.compile(r"[ \t]*,[ \t]*")


_Whole = TypeVar("_Whole")


class _Malformed(Exception):
    pass


def item(text: str) -> Bare | None:
    """The item that *text* is."""
    reader = _Reader(text)
    try:
        return reader.whole(reader.item())
    except _Malformed:
        return None


def integer(text: str) -> int | None:
    """The integer that *text* is; a decimal, a date or a boolean is none."""
    value = item(text)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def boolean(text: str) -> bool | None:
    """The boolean that *text* is."""
    value = item(text)
    return value if isinstance(value, bool) else None


def dictionary(text: str) -> dict[str, Member] | None:
    """The dictionary that *text* is; of a key that comes twice, the last value."""
    reader = _Reader(text)
    try:
        return reader.whole(reader.dictionary())
    except _Malformed:
        return None


class _Reader:
    """A place in a text, from which one thing after the other is read."""

    __slots__ = ("_at", "_text")

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._match(_SPACES)

    def whole(self, value: _Whole) -> _Whole:
        """*value*, if nothing but spaces follows it."""
        self._match(_SPACES)
        if self._at < len(self._text):
            raise _Malformed
        return value

    def item(self) -> Bare:
        value = self._bare()
        self._parameters()
        return value

    def dictionary(self) -> dict[str, Member]:
        members: dict[str, Member] = {}
        more = self._at < len(self._text)
        while more:
            key = self._key()
            members[key] = self._member()
            more = self._match(_COMMA) is not None
        return members

    def _member(self) -> Member:
        if not self._skip("="):
            self._parameters()
            return True
        return self._inner_list() if self._skip("(") else self.item()

    def _inner_list(self) -> tuple[Bare, ...]:
        items: list[Bare] = []
        while True:
            spaces = self._match(_SPACES)
            if self._skip(")"):
                self._parameters()
                return tuple(items)
            if items and not (spaces and spaces[0]):
                raise _Malformed
            items.append(self.item())

    def _parameters(self) -> None:
        while self._skip(";"):
            self._match(_SPACES)
            self._key()
            if self._skip("="):
                self._bare()

    def _key(self) -> str:
        found = self._match(_KEY)
        if found is None:
            raise _Malformed
        return found[0]

    def _bare(self) -> Bare:
        found = self._match(_BARE)
        if found is None:
            raise _Malformed
        return _value(found)

    def _skip(self, sign: str) -> bool:
        found = self._text.startswith(sign, self._at)
        self._at += found
        return found

    def _match(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        found = pattern.match(self._text, self._at)
        if found is not None:
            self._at = found.end()
        return found


def _value(found: re.Match[str]) -> Bare:
    """What a match of _BARE says."""
    kind = cast("str", found.lastgroup)
    if kind == "padding":
        return _bytes(found["bytes"], found["padding"])
    text = found[kind]
    match kind:
        case "integer":
            return int(text)
        case "decimal":
            return Decimal(text)
        case "string":
            return re.sub(r"\\(.)", r"\1", text)
        case "token":
            return Token(text)
        case "boolean":
            return text == "1"
        case "date":
            return Date(int(text))
        case _:
            return _display(text)


def _bytes(text: str, padding: str) -> bytes:
    """Base64 whose padding may be left out, or be whole (section 4.2.7)."""
    missing = "=" * (-len(text) % 4)
    if len(missing) > 2 or padding not in ("", missing):
        raise _Malformed
    return binascii.a2b_base64(text + missing)


def _display(text: str) -> Display:
    try:
        return Display(unquote_to_bytes(text).decode("utf-8"))
    except UnicodeDecodeError:
        raise _Malformed from None


# --- writing ------------------------------------------------------------------------------------


def write(value: bool | int | str | bytes | Token) -> str:
    """An item's text.  Raises ValueError for what no structured field can say."""
    match value:
        case bool():
            return f"?{value:d}"
        case int() if abs(value) <= MAX_INTEGER:
            return str(value)
        case bytes():
            return f":{b64encode(value).decode('ascii')}:"
        case str() if value.isascii() and value.isprintable():
            return '"' + re.sub(r'(["\\])', r"\\\1", value) + '"'
        case Token() if isinstance(item(value.text), Token):
            return value.text
        case _:
            raise ValueError(f"no structured field can say {value!r}")


def write_dictionary(members: Mapping[str, bool | int | str | bytes | Token]) -> str:
    """A dictionary's text.  Raises ValueError as `write` does, and for a key that is none."""
    said = []
    for key, value in members.items():
        if not _KEY.fullmatch(key):
            raise ValueError(f"{key!r} is no key of a dictionary")
        said.append(key if value is True else f"{key}={write(value)}")
    return ", ".join(said)
