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
    PUT = "a new upload, its name in the path"
    FORM = "new uploads, in a form"
    FILES = "where uploads are created"
    UPLOAD = "an upload: continued, looked at, cancelled, and had when it is complete"
    OPTIONS = "the methods of a path"
    POSTED = "new uploads, in a form, under an id that the client chose"
    STATUS = "how an upload stands, perhaps once it has moved"
    REMOVE = "an upload is not wanted any more, complete or not"
    CANCEL = "an upload that is not complete is not wanted any more"
    LISTING = "uploads, page by page"
    ACTIVE = "uploads that somebody sends now"
    EVENTS = "a stream of what is watched"
    NOTICES = "how uploads of the same owner ended"
    READ = "notices that need not be told again"
    LINK = "a link for somebody without a token"
    OPENAPI = "what all of this is, for programs"


class Route(NamedTuple):
    """Where a request goes."""

    conversation: Conversation
    allowed: tuple[str, ...]
    """The methods of the path, for ``Allow``."""
    upload: str | None = None
    """The id in the path, well-formed, or a client's own; whether there is such an upload is
    another question."""
    name: str | None = None
    """The file name in the path, decoded."""
    query: str = ""
    """What stands behind the first ``?``, as sent."""
    folder: str = ""
    """The folders in front of the name, decoded; for `PUT`."""

    @property
    def path(self) -> str:
        """Folders and name."""
        return f"{self.folder}/{self.name or ''}" if self.folder else self.name or ""


class _Row(NamedTuple):
    path: re.Pattern[str]
    methods: dict[str, Conversation]


_ID: Final = r"(?P<upload>[A-Za-z0-9_-]{22,64})"
_NAME: Final = r"(?P<name>[^/]+)"
_KEY: Final = r"(?P<upload>[A-Za-z0-9._~-]{1,128})"
"""An id, or what the client chose as `X-Upload-Id`."""
_ASSET: Final = r"(?P<name>[a-z]+(?:\.[a-z]+)+)"


def _reading(conversation: Conversation) -> dict[str, Conversation]:
    return {"GET": conversation, "HEAD": conversation}


def _upload() -> dict[str, Conversation]:
    return dict.fromkeys(("GET", "HEAD", "PATCH", "DELETE", "POST"), Conversation.UPLOAD)


C = Conversation

# The whole server, by path.  OPTIONS is answered everywhere.
_ROWS: Final = (
    _Row(re.compile(r"/"),                      _reading(C.FRONT) | {"POST": C.FORM, "PUT": C.PUT}),
    _Row(re.compile(r"/files/"),                dict.fromkeys(("POST", "PUT", "PATCH"), C.FILES)),
    _Row(re.compile(rf"/files/{_ID}"),          _upload()),
    _Row(re.compile(rf"/f/{_ID}(?:/{_NAME})?"), _reading(C.DOWNLOAD)),
    _Row(re.compile(r"/-/ws"),                  {"GET": C.SESSION}),
    _Row(re.compile(r"/-/info"),                _reading(C.INFO)),
    _Row(re.compile(r"/-/openapi\.json"),       _reading(C.OPENAPI)),
    _Row(re.compile(rf"/-/{_ASSET}"),           _reading(C.ASSET)),
    _Row(re.compile(r"/api/upload"),            {"POST": C.POSTED}),
    _Row(re.compile(rf"/api/upload/{_KEY}"),    _reading(C.STATUS) | {"DELETE": C.REMOVE}),
    _Row(re.compile(rf"/api/upload/{_KEY}/status"), _reading(C.STATUS)),
    _Row(re.compile(rf"/api/upload/{_KEY}/cancel"), {"POST": C.CANCEL}),
    _Row(re.compile(r"/api/uploads"),           _reading(C.LISTING)),
    _Row(re.compile(r"/api/uploads/active"),    _reading(C.ACTIVE)),
    _Row(re.compile(r"/api/events"),            _reading(C.EVENTS)),
    _Row(re.compile(r"/api/notices"),           _reading(C.NOTICES)),
    _Row(re.compile(r"/api/notices/read"),      {"POST": C.READ}),
    _Row(re.compile(r"/api/links"),             {"POST": C.LINK}),
)  # fmt: skip

# Anything else can be put; what begins like one of ours is rather a mistake.
_RESERVED: Final = re.compile(r"/(?:-|f|files|api|socket\.io)(?:/.*)?")
_PUT: Final = ("PUT", "OPTIONS")


def route(head: Head) -> Route:
    """The conversation that *head* begins; raises NotFound or MethodNotAllowed."""
    path, _, query = head.target.partition("?")
    if path == "*":
        return Route(Conversation.OPTIONS, METHODS)
    if head.method in _PUT and (found := _put(head.method, path, query)) is not None:
        return found
    row, match = _find(path)
    methods = (*row.methods, "OPTIONS")
    if head.method not in methods:
        raise MethodNotAllowed(f"{head.method} is not for this path; {', '.join(methods)} are")
    parts = match.groupdict()
    name = _decode(parts["name"]) if parts.get("name") else None
    what = row.methods.get(head.method, Conversation.OPTIONS)
    return Route(what, methods, parts.get("upload"), name, query)


def _put(method: str, path: str, query: str) -> Route | None:
    """The new upload that PUT asks for; None when something of ours lives there."""
    if path == "/" or _RESERVED.fullmatch(path):
        return None
    *folders, name = [_decode(step) if step else "" for step in path.split("/")[1:]]
    if not all(folders):
        raise NotFound("an empty step in the path: what would that folder be called?")
    what = Conversation.PUT if method == "PUT" else Conversation.OPTIONS
    return Route(what, _PUT, name=name or None, folder="/".join(folders), query=query)


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
