"""What can be asked under ``/api``: from this table are ``openapi.py`` and ``docs/api.md`` made."""

from __future__ import annotations

from typing import Any, Final, Literal, NamedTuple

from uploadd.protocol import questions
from uploadd.protocol.seen import Seen

Schema = dict[str, Any]
TEXT: Final[Schema] = {"type": "string"}


class Param(NamedTuple):
    """One parameter of a request."""

    name: str
    place: Literal["query", "header", "path"]
    schema: Schema
    what: str


class Answer(NamedTuple):
    """One good answer; those that refuse are the same everywhere."""

    status: int
    what: str
    schema: str | None = None
    """A document of `api`, or ``Stored``."""
    media_type: str = "application/json"


class Operation(NamedTuple):
    """One method of one path."""

    method: str
    path: str
    id: str
    what: str
    params: tuple[Param, ...]
    answers: tuple[Answer, ...]
    body: str = ""
    """The media type of the request's body."""
    document: str = ""
    """Of a body in JSON, its name in `api`."""


def _choice(*words: str) -> Schema:
    return {"type": "string", "enum": list(words)}


def _query(name: str, schema: Schema, what: str) -> Param:
    return Param(name, "query", schema, what)


def _field(name: str, what: str, schema: Schema | None = None) -> Param:
    return Param(name, "header", schema or TEXT, what)


_ID: Final = Param(
    "upload",
    "path",
    {"type": "string", "pattern": r"^[A-Za-z0-9._~-]{1,128}$"},
    "its id, or what the client chose as `X-Upload-Id`",
)
_NAME: Final[Schema] = {"type": "string", "minLength": 1, "maxLength": 255}
_CLIENT: Final = (
    _field("X-Client-Id", "who asks; at least 22 random characters to own something", _NAME),
    _query("client_id", _NAME, "the same, where no field can be set (EventSource)"),
)
_PAGE: Final = (
    _query(
        "limit",
        {
            "type": "integer",
            "minimum": 1,
            "maximum": questions.MAX_PAGE,
            "default": questions.PAGE,
        },
        "at most so many",
    ),
    _query(
        "cursor",
        {"type": "string", "pattern": "^[A-Za-z0-9_-]+$"},
        "`next` of the page before",
    ),
)
_WHOSE: Final = _query("of", _choice("mine", "all"), "whose uploads; all if not said")
_WAITING: Final = (
    _query(
        "wait",
        {"type": "number", "minimum": 0, "maximum": questions.MAX_WAIT},
        "seconds to wait for something new; without `after`, for any change from now on",
    ),
    _query(
        "after",
        {"type": "integer", "minimum": 0, "maximum": (1 << 53) - 1},
        "answer at once when more than so many bytes are held",
    ),
)
_SIZE: Final[Schema] = {"type": "string", "pattern": r"^[0-9]{1,15}$"}
_SHOWN: Final = Answer(200, "how it stands", "Shown")
_GONE: Final = Answer(204, "it is gone: its bytes are freed, and watchers are told")

OPERATIONS: Final = (
    Operation(
        *("POST", "/api/upload", "post"),
        "Store the files of a form. It can be watched meanwhile; a body that breaks off is gone.",
        (
            _field(
                "X-Upload-Id",
                "a name for the upload, chosen by the client; of at least 22 characters, or with "
                "an owner, a key: the same file posted again is stored once",
                _ID.schema,
            ),
            _field("X-Socket-Id", "the session (`welcome.session`) that is told of it", _NAME),
            _field("X-Image-Filesize", "bytes of the file in `msa_imgs`, for the bar", _SIZE),
            _field("X-Docs-Filesize", "bytes of the file in `docs_field`, likewise", _SIZE),
            *_CLIENT,
        ),
        (Answer(201, "published and durable", "Stored"),),
        "multipart/form-data",
    ),
    Operation(
        *("GET", "/api/upload/{upload}/status", "status"),
        "How an upload stands, at once or when something is new (long polling).",
        (_ID, *_WAITING, *_CLIENT),
        (_SHOWN,),
    ),
    Operation(
        *("GET", "/api/upload/{upload}", "show"),
        "The same.",
        (_ID, *_WAITING, *_CLIENT),
        (_SHOWN,),
    ),
    Operation(
        *("DELETE", "/api/upload/{upload}", "remove"),
        "Cancel an upload that is not complete, remove the file of one that is.",
        (_ID, *_CLIENT),
        (_GONE,),
    ),
    Operation(
        *("POST", "/api/upload/{upload}/cancel", "cancel"),
        "Cancel an upload that is not complete; 409 once it is.",
        (_ID, *_CLIENT),
        (_GONE,),
    ),
    Operation(
        *("GET", "/api/uploads", "list"),
        "Uploads, newest first, page by page. A page may be short of `limit`; the last one has no "
        "`next`.",
        (
            _WHOSE,
            _query(
                "state",
                {"type": "array", "minItems": 1, "items": _choice(*Seen)},
                "those in one of these states (with commas); all that are not gone if not said",
            ),
            _query("name", {"type": "string"}, "those whose name holds this, in any case"),
            *_PAGE,
            *_CLIENT,
        ),
        (Answer(200, "one page", "Listed"),),
    ),
    Operation(
        *("GET", "/api/uploads/active", "active"),
        "The uploads that somebody sends now, newest first, page by page.",
        (_WHOSE, *_PAGE, *_CLIENT),
        (Answer(200, "one page", "Listed"),),
    ),
    Operation(
        *("GET", "/api/events", "events"),
        "Server-sent events: the newest state of everything watched, then every change.",
        (
            _query(
                "upload",
                {"type": "string", "minLength": 1},
                "ids (with commas, or again and again), `mine` or `all`",
            ),
            _field("Last-Event-ID", "the newest event that was heard; only what is newer is told"),
            _query(
                "last_event_id",
                {"type": "string", "minLength": 1},
                "the same, where no field can be set",
            ),
            *_CLIENT,
        ),
        (Answer(200, "until the client goes", None, "text/event-stream"),),
    ),
    Operation(
        *("GET", "/api/notices", "notices"),
        "How uploads of the same owner ended, newest first.",
        (_query("unread", {"type": "integer", "enum": [0, 1]}, "1: those not read"), *_CLIENT),
        (Answer(200, "all that are kept", "Notices"),),
    ),
    Operation(
        *("POST", "/api/notices/read", "read"),
        "Say which notices were read.",
        _CLIENT,
        (Answer(204, "they are"),),
        "application/json",
        "Read",
    ),
    Operation(
        *("POST", "/api/links", "link"),
        "Make a link by which somebody without a token may have an upload, or send one.",
        _CLIENT,
        (Answer(201, "it is good from now on", "Link"),),
        "application/json",
        "Linking",
    ),
)
REQUIRED: Final = frozenset({("events", "upload")})
"""Parameters outside of a path that must be there, by operation."""
