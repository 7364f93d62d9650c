"""The plain JSON of ``/api``: what can be asked, read off a request."""

from __future__ import annotations

import base64
import math
from typing import Final, Literal, NamedTuple, TypeAlias, overload
from urllib.parse import parse_qsl

import msgspec

from uploadd.errors import BadRequest, NotFound
from uploadd.protocol.heads import Head
from uploadd.protocol.seen import ENDED, Seen

MAX_WAIT: Final = 60.0
"""Seconds that one question may wait for its answer."""
MAX_PAGE: Final = 500
PAGE: Final = 50
CLIENT_ID: Final = "client_id"
"""The parameter that says what ``X-Client-Id`` says, for those who cannot set a field."""


class Waiting(NamedTuple):
    """A question about one upload: answered once it is beyond *after*, or after *wait* seconds."""

    wait: float = 0.0
    after: int | None = None


class Listing(NamedTuple):
    """A question about many."""

    mine: bool = False
    states: frozenset[Seen] = frozenset(Seen) - ENDED
    name: str = ""
    """What the name holds somewhere, in any case of letters."""
    limit: int = PAGE
    before: tuple[float, str] | None = None
    """Creation and id of the last one on the page before."""


class Watching(NamedTuple):
    """What a stream of events is about."""

    subjects: tuple[str, ...] | Literal["mine", "all"]
    last: str | None = None
    """The newest event that the client has, as it was told."""


Query: TypeAlias = dict[str, list[str]]


def query_of(text: str) -> Query:
    """The parameters of a query, in order.  Raises BadRequest."""
    try:
        pairs = parse_qsl(text, keep_blank_values=True, max_num_fields=1100, errors="strict")
    except ValueError as error:
        raise BadRequest("the query cannot be read") from error
    found: Query = {}
    for name, value in pairs:
        found.setdefault(name, []).append(value)
    return found


def client_id(head: Head, query: Query) -> str | None:
    """How the client calls itself.  Raises BadRequest."""
    said, asked = head.get(b"x-client-id"), _one(query, CLIENT_ID)
    told = None if said is None else said.decode("latin-1")
    for text in (told, asked):
        if text is not None and not 0 < len(text) <= 255:
            raise BadRequest("a client id has 1 to 255 characters")
    return asked if told is None else told


def waiting(query: Query) -> Waiting:
    """How long the answer may wait, and for what.  Raises BadRequest."""
    after = _one(query, "after")
    return Waiting(
        _number(_one(query, "wait", "0"), "wait", MAX_WAIT),
        None if after is None else _whole(after, "after", (1 << 53) - 1),
    )


def listing(query: Query) -> Listing:
    """Which uploads are wanted.  Raises BadRequest, or NotFound for a cursor that leads nowhere."""
    words = [word for text in query.get("state", []) for word in text.split(",")]
    if unknown := set(words) - set(Seen):
        raise BadRequest(f"no upload is ever {min(unknown)[:40]!r}", hint=", ".join(Seen))
    cursor = _one(query, "cursor")
    return Listing(
        mine=_whose(_one(query, "of")) == "mine",
        states=frozenset(map(Seen, words)) if "state" in query else Listing().states,
        name=_one(query, "name") or "",
        limit=_whole(_one(query, "limit", str(PAGE)), "limit", MAX_PAGE, least=1),
        before=None if cursor is None else read_cursor(cursor),
    )


def watching(head: Head, query: Query, most: int) -> Watching:
    """What is to be told of; at most *most* ids.  Raises BadRequest."""
    ids = [id for text in query.get("upload", []) for id in text.split(",")]
    said, last = head.get(b"last-event-id"), _one(query, "last_event_id")
    if last == "":
        raise BadRequest("last_event_id is the id of an event")
    last = last if said is None else said.decode("latin-1")
    if ids in (["mine"], ["all"]):
        return Watching(_whose(ids[0]), last)
    if not ids or not all(0 < len(id) <= 128 for id in ids) or {"mine", "all"} & set(ids):
        raise BadRequest("upload is ids (several: with commas, or again and again), mine or all")
    if len(ids) > most:
        raise BadRequest(f"{len(ids)} uploads in one stream; at most {most}")
    return Watching(tuple(ids), last)


def unread(query: Query) -> bool:
    """Whether only the notices that were not read are wanted.  Raises BadRequest."""
    return bool(_whole(_one(query, "unread", "0"), "unread", 1))


# --- cursors: opaque to everybody else ----------------------------------------------------------


def cursor(created: float, id: str) -> str:
    """Where the next page begins: behind the upload *id*."""
    packed = msgspec.json.encode([created, id])
    return base64.urlsafe_b64encode(packed).decode("ascii").rstrip("=")


def read_cursor(text: str) -> tuple[float, str]:
    """What `cursor` made.  Raises NotFound: no page begins there."""
    try:
        packed = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        found = msgspec.json.decode(packed, type=tuple[float, str])
    except (ValueError, msgspec.MsgspecError, RecursionError) as error:
        raise NotFound("no page begins at this cursor") from error
    if not math.isfinite(found[0]):
        raise NotFound("no page begins at this cursor")
    return found


# --- inside -------------------------------------------------------------------------------------


@overload
def _one(query: Query, name: str) -> str | None: ...
@overload
def _one(query: Query, name: str, otherwise: str) -> str: ...
def _one(query: Query, name: str, otherwise: str | None = None) -> str | None:
    values = query.get(name)
    if values is None:
        return otherwise
    if len(values) > 1:
        raise BadRequest(f"{name} is there more than once")
    return values[0]


def _whose(text: str | None) -> Literal["mine", "all"]:
    match text:
        case "mine":
            return "mine"
        case "all" | None:
            return "all"
    raise BadRequest("of is mine or all")


def _number(text: str, name: str, most: float) -> float:
    try:
        number = float(text) if text.isascii() and "_" not in text else math.nan
    except ValueError:
        number = math.nan
    if not 0 <= number <= most:
        raise BadRequest(f"{name} is a number from 0 to {most:g}")
    return number


def _whole(text: str, name: str, most: int, *, least: int = 0) -> int:
    number = int(text) if text.isascii() and text.isdigit() and len(text) <= 16 else -1
    if not least <= number <= most:
        raise BadRequest(f"{name} is a whole number from {least} to {most}")
    return number
