"""Every setting: its name, default, unit and how it is read.  Pure.

The type of a setting says how it is read, so a setting is added by writing one line and its
docstring here, and the same with its reason in ``conf/uploadd.toml``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from uploadd.protocol import names

KIB = 1 << 10
MIB = 1 << 20
LARGEST = (1 << 53) - 1  # the largest integer that every JSON reader holds exactly

# --- readers: what stands in the file -> what the daemon works with -----------------------------

_QUANTITY = re.compile(r"(\d{1,18})(?:\.(\d{1,9}))?\s*([a-z]+)", re.ASCII | re.IGNORECASE)
_SIZE_UNITS = {"b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12}
_SIZE_UNITS |= {"kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30, "tib": 1 << 40}
_DURATION_UNITS_MS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_HOST = r"(?:[a-z0-9_.-]+|\[[0-9a-f:.]+\])"
_ORIGIN = re.compile(rf"([a-z][a-z0-9+.-]*)://{_HOST}(?::\d{{1,5}})?")


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


def read_limit(value: object) -> int | None:
    """A size in bytes, or ``"none"`` for no limit, which is None."""
    return None if value in ("none", None) else read_size(value)


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


def read_mode(value: object) -> int:
    """``"0644"``, octal digits as chmod takes them, as the number."""
    if not (isinstance(value, str) and re.fullmatch("0?[0-7]{3}", value)):
        raise ValueError(f'expected a file mode as text, such as "0644", not {show(value)}')
    if not (mode := int(value, 8)) & 0o400:
        raise ValueError(f"{show(value)} would keep the daemon from reading what it published")
    return mode


def read_template(value: object) -> str:
    """A relative path with fields such as ``{name}`` in it; see `names.check_template`."""
    if not isinstance(value, str):
        raise ValueError(f"expected text, not {show(value)}")  # noqa: TRY004 - a reader's one way
    names.check_template(value)
    return value


def _texts(value: object) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or not all(isinstance(text, str) for text in value):
        raise ValueError(f"expected a list of texts, not {show(value)}")
    return tuple(text.strip().lower() for text in value if text.strip())


def read_names(value: object) -> tuple[str, ...]:
    """Host names without scheme, port or path, in lower case."""
    for name in (names := _texts(value)):
        if not re.fullmatch(_HOST, name):
            raise ValueError(f"{show(name)} is not a host name: leave out scheme, port and path")
    return names


def read_origins(value: object) -> tuple[str, ...]:
    """Origins as browsers send them, ``scheme://host[:port]``, in lower case."""
    origins = []
    for origin in _texts(value):
        if not (found := _ORIGIN.fullmatch(origin)):
            raise ValueError(f"{show(origin)} is not an origin: write scheme://host[:port]")
        # A browser leaves the scheme's own port out, so with it nothing would ever match.
        own_port = {"http": ":80", "https": ":443"}.get(found[1])
        origins.append(origin.removesuffix(own_port) if own_port else origin)
    return tuple(origins)


def show(value: object) -> str:
    """*value* as messages quote it, cut when it is long."""
    text = f'"{value}"' if isinstance(value, str) else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


Bytes = Annotated[int, read_size]
Seconds = Annotated[float, read_duration]
Count = Annotated[int, Meta(ge=1, le=1_000_000)]

# --- the settings -------------------------------------------------------------------------------


class Server(Struct, frozen=True, kw_only=True):
    """Where the daemon listens and by which names it is known."""

    host: Annotated[str, Meta(min_length=1)] = "127.0.0.1"
    """Address to listen on."""
    port: Annotated[int, Meta(ge=0, le=65535)] = 8080
    """TCP port; 0 takes a free one."""
    names: Annotated[tuple[str, ...], read_names] = ()
    """Values of Host that are answered beside localhost, 127.0.0.1 and [::1]; without port."""
    origins: Annotated[tuple[str, ...], read_origins] = ()
    """Origins whose pages may upload beside the daemon's own; ``scheme://host[:port]``."""


class Storage(Struct, frozen=True, kw_only=True):
    """Where files come to lie and under which names."""

    dir: str = ""
    """Folder for published files; empty: the DIR of ``uploadd serve DIR``."""
    path: Annotated[str, read_template] = "{folder}/{name}"
    """Path of a published file inside ``dir``, of {folder}, {name}, {date}, {id} and {subject}."""
    mode: Annotated[int, read_mode] = 0o644
    """Mode of published files, octal."""
    min_free: Bytes = 64 * MIB
    """Bytes of the disk that uploads leave free."""
    keep_unfinished: Seconds = 7 * 86400.0
    """Seconds after which an upload that nobody went on with is removed."""
    keep_notices: Seconds = 30 * 86400.0
    """Seconds for which is kept how an upload ended, for its owner."""


class Access(Struct, frozen=True, kw_only=True):
    """Who may see what."""

    list: Literal["everybody", "nobody", "auto"] = "auto"
    """Who may see everybody's uploads; auto: everybody on a daemon for this computer alone."""


class Durability(Struct, frozen=True, kw_only=True):
    """What an acknowledgement means, and when flushing starts by itself."""

    ack: Literal["durable", "written"] = "durable"
    """What is acknowledged: survives power loss, or survives only the end of the process."""
    flush: Literal["files", "filesystem"] = "files"
    """What is flushed: each file (fdatasync), or the whole file system (syncfs)."""
    flush_bytes: Annotated[int, read_size, Meta(ge=1)] = 8 * MIB
    """Bytes of one upload that are not durable and start a flush."""
    flush_interval: Seconds = 0.2
    """Seconds after the first such byte until a flush starts, when nobody waits for one."""


class Limits(Struct, frozen=True, kw_only=True):
    """What one daemon, session or upload may use."""

    max_length: Annotated[int | None, read_limit] = None
    """Bytes of the largest upload that is taken; None: as many as the disk holds."""
    memory: Annotated[int, read_size, Meta(ge=MIB)] = 256 * MIB
    """Bytes of all uploads together that may wait in memory."""
    max_sessions: Count = 10_000
    """WebSocket sessions at one time."""
    max_refs: Count = 256
    """Uploads and fetches alive in one session."""
    max_watched: Count = 1000
    """Uploads that one session or stream may watch by their ids."""
    max_events: Count = 1000
    """Streams of events, and questions that wait for their answer, at one time."""
    max_chunk: Annotated[int, read_size, Meta(ge=16 * KIB, le=16 * MIB)] = MIB
    """Bytes of the largest chunk; less is granted when many sessions share the memory."""


class Timeouts(Struct, frozen=True, kw_only=True):
    """How long the daemon waits for a peer, in seconds."""

    head: Seconds = 15.0
    """From the first byte of a request to the end of its head."""
    handshake: Seconds = 5.0
    """For the WebSocket handshake."""
    hello: Seconds = 5.0
    """From the handshake to the client's ``hello``."""
    message: Seconds = 30.0
    """From the first byte of a message to its last."""
    idle: Seconds = 60.0
    """Without a byte from the peer."""
    ping: Seconds = 25.0
    """Between the pings that keep a quiet session alive."""
    send: Seconds = 60.0
    """For a peer to take what is sent to it."""
    stop: Seconds = 10.0
    """From the signal to stop until sessions that have not ended are cut."""


class Log(Struct, frozen=True, kw_only=True):
    """What is said on standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """The least important line that is written."""


class Config(Struct, frozen=True, kw_only=True):
    """Every setting, in its section.  ``Config()`` is the defaults."""

    server: Server = Server()
    storage: Storage = Storage()
    access: Access = Access()
    durability: Durability = Durability()
    limits: Limits = Limits()
    timeouts: Timeouts = Timeouts()
    log: Log = Log()


KINDS: dict[str, type[Struct]] = {f.name: f.type for f in msgspec.structs.fields(Config)}
SETTINGS: dict[str, dict[str, msgspec.structs.FieldInfo]] = {
    section: {field.name: field for field in msgspec.structs.fields(kind)}
    for section, kind in KINDS.items()
}
