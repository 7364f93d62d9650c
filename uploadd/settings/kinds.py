"""Kinds of values: what may stand in the file, and what the daemon works with.  Pure.

A `Kind` reads what somebody wrote and raises ValueError with what is allowed.  Kinds are made of
one another: ``optional(size())``, ``many(HOST)``.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from uploadd.protocol import addresses, names, tokens

T = TypeVar("T")
LARGEST: Final = (1 << 53) - 1  # the largest integer that every JSON reader holds exactly
KIB: Final = 1 << 10
MIB: Final = 1 << 20

_QUANTITY = re.compile(r"(\d{1,18})(?:\.(\d{1,9}))?\s*([a-z]+)", re.ASCII | re.IGNORECASE)
_SIZE_UNITS = {"b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12}
_SIZE_UNITS |= {"kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30, "tib": 1 << 40}
_DURATION_UNITS_MS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_HOST = r"(?:[a-z0-9_.-]+|\[[0-9a-f:.]+\])"
_ORIGIN = re.compile(rf"([a-z][a-z0-9+.-]*)://{_HOST}(?::\d{{1,5}})?")


@dataclass(frozen=True, slots=True)
class Kind(Generic[T]):
    """How a value is read; *says* what may be written, as messages and tables put it."""

    says: str
    read: Callable[[object], T]
    example: object = None
    """What could be written, where the default is nothing; as the operator writes it."""
    secret: bool = False
    """Never shown, and never in a file that others may read or in arguments."""


class Secret(str):
    """Text that no message, log or traceback shows; ``str(secret)`` is the text itself."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "Secret(hidden)" if self else "Secret()"


def show(value: Any) -> str:
    """*value* as messages quote it, cut when it is long."""
    if isinstance(value, bool):
        text = "true" if value else "false"
    else:
        text = f'"{value}"' if isinstance(value, str) else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


# --- numbers ------------------------------------------------------------------------------------


def _scaled(text: str, units: Mapping[str, int]) -> tuple[int, int] | None:
    """*text* in the smallest unit as an exact fraction, or None when it is no such quantity."""
    found = _QUANTITY.fullmatch(text.strip())
    if found is None or found[3].lower() not in units:
        return None
    decimals = found[2] or ""
    return int(found[1] + decimals) * units[found[3].lower()], 10 ** len(decimals)


def read_size(value: object) -> int:
    """``"8 MiB"``, ``"10GB"`` or a bare number of bytes, in bytes; a fraction is cut off."""
    if isinstance(value, int) and not isinstance(value, bool):
        size = value
    elif isinstance(value, str) and (scaled := _scaled(value, _SIZE_UNITS)):
        size = scaled[0] // scaled[1]
    else:
        raise ValueError(f'expected a size such as "8 MiB", "10 GB" or 8388608, not {show(value)}')
    if not 0 <= size <= LARGEST:
        raise ValueError(f"{show(value)} is not between 0 and 2^53 - 1 bytes")
    return size


def read_duration(value: object) -> float:
    """``"200 ms"``, ``"5 s"``, ``"2m"`` or ``"1h"``, in seconds; a bare number is not one."""
    scaled = _scaled(value, _DURATION_UNITS_MS) if isinstance(value, str) else None
    if scaled is None:
        raise ValueError(
            f'expected a duration with its unit, such as "200 ms", "5 s" or "2 m",'
            f" not {show(value)}"
        )
    if not scaled[0]:
        raise ValueError("a duration must be longer than nothing")
    return scaled[0] / (1000 * scaled[1])


def read_rate(value: object) -> int:
    """``"1 MiB/s"``, in bytes a second, at least one."""
    size, slash, second = str(value).partition("/")
    scaled = _scaled(size, _SIZE_UNITS) if isinstance(value, str) else None
    if not (slash and second.strip() == "s" and scaled):
        raise ValueError(f'expected a rate such as "10 MB/s" or "512 KiB/s", not {show(value)}')
    if not 0 < (rate := scaled[0] // scaled[1]) <= LARGEST:
        raise ValueError(f"{show(value)} is not between 1 byte and 2^53 - 1 bytes a second")
    return rate


def size(least: int = 0, most: int = LARGEST) -> Kind[int]:
    """Bytes."""
    return Kind("a size", _within(read_size, least, most, " bytes"), "10 GiB")


def count(least: int = 1, most: int = 1_000_000) -> Kind[int]:
    """A whole number."""

    def read(value: object) -> int:
        if not isinstance(value, int) or isinstance(value, bool):
            raise ValueError(f"expected a whole number, not {show(value)}")  # noqa: TRY004
        return value

    return Kind(f"{least} to {most}", _within(read, least, most, ""))


def _within(
    read: Callable[[object], int], least: int, most: int, unit: str
) -> Callable[[object], int]:
    def bounded(value: object) -> int:
        if not least <= (number := read(value)) <= most:
            edge = f"at least {least}" if number < least else f"at most {most}"
            raise ValueError(f"expected {edge}{unit}, not {show(value)}")
        return number

    return bounded


# --- words --------------------------------------------------------------------------------------


def choice(*words: T) -> Kind[T]:
    """One of *words*."""

    def read(value: object) -> T:
        for word in words:
            if value == word and type(value) is type(word):
                return word
        raise ValueError(f"expected {alternatives}, not {show(value)}")

    alternatives = " or ".join(show(word) for word in words)
    return Kind(alternatives, read)


def read_text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"expected text, not {show(value)}")  # noqa: TRY004 - a reader's one way
    return value


def read_some(value: object) -> str:
    """Text that is not empty."""
    if not (text := read_text(value)):
        raise ValueError('expected text of at least one character, not ""')
    return text


def read_mode(value: object) -> int:
    """``"0644"``, octal digits as chmod takes them, as the number."""
    if not (isinstance(value, str) and re.fullmatch("0?[0-7]{3}", value)):
        raise ValueError(f'expected a file mode as text, such as "0644", not {show(value)}')
    if not (mode := int(value, 8)) & 0o400:
        raise ValueError(f"{show(value)} would keep the daemon from reading what it published")
    return mode


def read_template(value: object) -> str:
    """A relative path with fields such as ``{name}`` in it; see `names.check_template`."""
    names.check_template(text := read_text(value))
    return text


def read_host(value: object) -> str:
    """A host name without scheme, port or path, in lower case."""
    if not re.fullmatch(_HOST, name := read_text(value).strip().lower()):
        raise ValueError(f"{show(name)} is not a host name: leave out scheme, port and path")
    return name


def read_origin(value: object) -> str:
    """An origin as browsers send it, ``scheme://host[:port]``, in lower case."""
    origin = read_text(value).strip().lower()
    if not (found := _ORIGIN.fullmatch(origin)):
        raise ValueError(f"{show(origin)} is not an origin: write scheme://host[:port]")
    # A browser leaves the scheme's own port out, so with it nothing would ever match.
    own_port = {"http": ":80", "https": ":443"}.get(found[1])
    return origin.removesuffix(own_port) if own_port else origin


def read_network(value: object) -> str:
    """An address, ``10.0.0.0/8``, or ``unix``: who is connected to a unix socket."""
    text = read_text(value).strip().lower()
    try:
        return text if text == addresses.UNIX else str(ipaddress.ip_network(text))
    except ValueError:
        raise ValueError(f'{show(text)} is no address, network or "unix"') from None


def read_pattern(value: object) -> str:
    """A media type, or ``image/*``."""
    if not re.fullmatch(
        r"[a-z0-9!#$&^_.+-]+/(?:\*|[a-z0-9!#$&^_.+-]+)", text := read_text(value).lower()
    ):
        raise ValueError(f'{show(text)} is no media type such as "image/*" or "application/pdf"')
    return text


def read_scope(value: object) -> str:
    """What a token may permit."""
    [scope] = tokens.read_scopes([read_text(value)])
    return scope


def _read_secret(value: object) -> Secret:
    text = read_text(value).strip()  # a file ends with a line break
    if not text:
        raise ValueError("expected a secret, and there is nothing")
    return Secret(text)


_LOCAL: Final = r"(127(?:\.[0-9]{1,3}){3}|\[::1\]|localhost):([0-9]{1,5})"


def read_address(value: object) -> str:
    """``127.0.0.1:9180``, ``[::1]:9180`` or ``unix:/path``; of this computer only."""
    text = read_text(value).strip()
    if text.startswith("unix:/"):
        return text
    if not (
        found := re.fullmatch(r"(127(?:\.[0-9]{1,3}){3}|\[::1\]|localhost):([0-9]{1,5})", text)
    ):
        raise ValueError(f'expected "127.0.0.1:9180" or "unix:/path", not {show(value)}')
    if int(found[2]) > 65535:
        raise ValueError(f"{found[2]} is not a port: they end at 65535")
    return text


DURATION: Final = Kind("a duration", read_duration, "7 d")
RATE: Final = Kind("a rate", read_rate, "10 MB/s")
FLAG: Final = choice(True, False)
TEXT: Final = Kind("text", read_text, "…")
SOME_TEXT: Final = Kind("text, not empty", read_some)
MODE: Final = Kind("a file mode", read_mode)
TEMPLATE: Final = Kind("a path with fields", read_template)
HOST: Final = Kind("a host name", read_host, "files.example.com")
ORIGIN: Final = Kind("an origin", read_origin, "https://files.example.com")
ADDRESS: Final = Kind("an address of this computer", read_address, "127.0.0.1:9180")
NETWORK: Final = Kind("an address or network", read_network, "127.0.0.1")
MEDIA_TYPE: Final = Kind("a media type", read_pattern, "image/*")
SCOPE: Final = Kind("a scope", read_scope, "create")
SECRET: Final = Kind("a secret", _read_secret, secret=True)


# --- kinds of kinds -----------------------------------------------------------------------------


def optional(kind: Kind[T]) -> Kind[T | None]:
    """*kind*, or ``"none"``, which is None: TOML has no null."""

    def read(value: object) -> T | None:
        return None if value in ("none", None) else kind.read(value)

    return Kind(f'{kind.says} or "none"', read, kind.example)


def many(kind: Kind[T]) -> Kind[tuple[T, ...]]:
    """A list of *kind*."""

    def read(value: object) -> tuple[T, ...]:
        if not isinstance(value, list | tuple):
            raise ValueError(f"expected a list of texts, not {show(value)}")  # noqa: TRY004
        return tuple(kind.read(one) for one in value if one != "")

    return Kind(f"a list: {kind.says}", read, [kind.example])
