"""Method and path of a request: which conversation it begins.

A path has one spelling: what is percent-encoded without need is another path, and unknown.
Only the file name behind an upload's id is decoded; it decorates the URL and picks nothing.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import Final, NamedTuple
from urllib.parse import unquote, unquote_to_bytes

from uploadd.errors import MethodNotAllowed, NotFound
from uploadd.protocol.heads import METHODS, Head


class Conversation(Enum):
    """What the answer to a request is."""

    FRONT = "the front page"
    ASSET = "a file of the page"
    DOWNLOAD = "an upload's bytes"
    SESSION = "a WebSocket session"
    INFO = "limits and protocols"
    OPTIONS = "the methods of a path"


class Route(NamedTuple):
    """Where a request goes."""

    conversation: Conversation
    allowed: tuple[str, ...]
    """The methods of the path, for ``Allow``."""
    upload: str | None = None
    """The id in the path, well-formed; whether there is such an upload is another question."""
    name: str | None = None
    """The file name behind the id, decoded; of an asset, its name."""
    query: str = ""
    """What stands behind the first ``?``, as sent."""


class _Row(NamedTuple):
    path: re.Pattern[str]
    methods: tuple[str, ...]
    conversation: Conversation


_ID: Final = r"(?P<upload>[A-Za-z0-9_-]{22,64})"
_NAME: Final = r"(?P<name>[^/]+)"
_ASSET: Final = r"(?P<name>[a-z]+(?:\.[a-z]+)+)"

# The whole server, by path.  OPTIONS is answered everywhere.
_ROWS: Final = (
    _Row(re.compile(r"/"),                      ("GET", "HEAD"), Conversation.FRONT),
    _Row(re.compile(rf"/f/{_ID}(?:/{_NAME})?"), ("GET", "HEAD"), Conversation.DOWNLOAD),
    _Row(re.compile(r"/-/ws"),                  ("GET",),        Conversation.SESSION),
    _Row(re.compile(r"/-/info"),                ("GET", "HEAD"), Conversation.INFO),
    _Row(re.compile(rf"/-/{_ASSET}"),           ("GET", "HEAD"), Conversation.ASSET),
)  # fmt: skip


def route(head: Head) -> Route:
    """The conversation that *head* begins; raises NotFound or MethodNotAllowed."""
    path, _, query = head.target.partition("?")
    if path == "*":
        return Route(Conversation.OPTIONS, METHODS)
    row, match = _find(path)
    methods = (*row.methods, "OPTIONS")
    if head.method not in methods:
        raise MethodNotAllowed(f"{head.method} is not for this path; {', '.join(methods)} are")
    parts = match.groupdict()
    name = _decode(parts["name"]) if parts.get("name") else None
    what = Conversation.OPTIONS if head.method == "OPTIONS" else row.conversation
    return Route(what, methods, parts.get("upload"), name, query)


def allowed(path: str) -> tuple[str, ...]:
    """The methods of *path* (a query may follow), for ``Allow``; empty for an unknown one."""
    try:
        row, _ = _find(path.partition("?")[0])
    except NotFound:
        return ()
    return (*row.methods, "OPTIONS")


def _find(path: str) -> tuple[_Row, re.Match[str]]:
    for row in _ROWS:
        match = row.path.fullmatch(path)
        if match is not None:
            return row, match
    raise NotFound("nothing lives at this path")


_ENCODED: Final = re.compile(r"(?:[!-$&-~]|%[0-9A-Fa-f]{2})+")


def _decode(name: str) -> str:
    """The file name in a path segment; raises NotFound for one that could mean another place.

    Decoded once.  It must not be dangerous for somebody who decodes it once more, either.
    """
    try:
        text = unquote_to_bytes(name).decode("utf-8") if _ENCODED.fullmatch(name) else ""
    except UnicodeDecodeError:
        text = ""
    if not _harmless(text) or not _harmless(unquote(text)):
        raise NotFound("nothing lives at this path: its last part is not a file name")
    return text


def _harmless(text: str) -> bool:
    return text not in {"", ".", ".."} and not re.search(r"[/\\\x00-\x1f\x7f]", text)
