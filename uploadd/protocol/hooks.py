"""Hooks: the operator's say, in the words of tusd, so that what was written for it works here.

A *receiver* is a program or an address.  It is told a JSON document, and before something is done
its answer may refuse that, or rename the upload.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, NamedTuple

import msgspec

from uploadd.errors import HookFailed, Refused
from uploadd.protocol import names
from uploadd.protocol.heads import Head
from uploadd.protocol.requests import is_part, parts_of
from uploadd.protocol.upload import Upload

PRE_CREATE: Final = "pre-create"
POST_CREATE: Final = "post-create"
POST_RECEIVE: Final = "post-receive"
PRE_FINISH: Final = "pre-finish"
POST_FINISH: Final = "post-finish"
PRE_TERMINATE: Final = "pre-terminate"
POST_TERMINATE: Final = "post-terminate"
KINDS: Final = (
    *(PRE_CREATE, POST_CREATE, POST_RECEIVE, PRE_FINISH, POST_FINISH),
    *(PRE_TERMINATE, POST_TERMINATE),
)
TOLD: Final = (POST_CREATE, POST_FINISH, POST_TERMINATE)
"""What is told afterwards, at least once; the answer says nothing but that it was taken."""
MAX_ANSWER: Final = 64 * 1024
"""Bytes that a receiver may answer with."""
MAX_SAID: Final = 1000
"""Characters of a refusal that a client is told where there is no HTTP."""
CALLED: Final = "called"
"""Beside what must be said again: what the client called an upload that a hook has renamed."""
PLACE: Final = "place"
"""Beside it, too: the path below the root that a hook has chosen for an upload."""
_COVERT: Final = frozenset(
    {
        *(b"authorization", b"cookie", b"proxy-authorization", b"x-client-id"),
        b"sec-websocket-protocol",  # a token may be among what a browser offers
    }
)
"""Told to those who are asked, and kept nowhere: not in the outbox."""
_FRAMING: Final = frozenset(
    ("connection", "content-encoding", "content-length", "date", "server", "transfer-encoding")
)


class Request(NamedTuple):
    """The request that brings an upload: what tusd tells of it."""

    head: Head
    remote: str
    """``address:port``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """An upload that somebody wants to begin: what of it a hook may change, and its length."""

    name: str | None
    length: int | None
    media_type: str | None
    metadata: Mapping[str, str] = field(default_factory=dict)
    echo: Mapping[str, str] = field(default_factory=dict)
    id: str = ""
    offset: int = 0

    def changed(self, answer: Answer) -> Draft:
        """What *answer* makes of it."""
        made, echo = self, dict(self.echo)
        if answer.metadata is not None:
            name = answer.metadata.get("filename") or answer.metadata.get("name") or self.name
            media_type = answer.metadata.get("filetype") or self.media_type
            made = replace(made, name=name, media_type=media_type, metadata=answer.metadata)
            if name != self.name:
                echo.setdefault(CALLED, self.name or "")
        if answer.place is not None:
            echo[PLACE] = answer.place
        return replace(made, echo=echo)


def called(upload: Upload) -> str | None:
    """What its client calls *upload*, whatever name a hook has given it."""
    return upload.echo.get(CALLED, upload.name)


# --- what a receiver is told --------------------------------------------------------------------


def told(kind: str, upload: Upload | Draft, request: Request | None, place: str | None) -> bytes:
    """The document of one event; *place* is where the bytes lie, for programs on this machine."""
    document = {
        "Type": kind,
        "Event": {
            "Upload": _upload(upload, place),
            "HTTPRequest": _request(request, covert=not kind.startswith("pre-")),
        },
    }
    return msgspec.json.encode(document)


def _upload(upload: Upload | Draft, place: str | None) -> dict[str, Any]:
    parts = list(parts_of(upload.echo))
    storage = None
    if isinstance(upload, Upload):
        storage = {"Type": "filestore", "State": upload.state.value}
        if place is not None:
            storage["Path"] = place
    return {
        "ID": upload.id,
        "Size": upload.length or 0,
        "SizeIsDeferred": upload.length is None,
        "Offset": upload.offset,
        "MetaData": described(upload),
        "IsPartial": is_part(upload.echo),
        "IsFinal": bool(parts),
        "PartialUploads": parts or None,
        "Storage": storage,
    }


def described(upload: Upload | Draft) -> dict[str, str]:
    """Its metadata, with the two of tus that receivers look for, whatever wire it came by."""
    said = dict(upload.metadata)
    if upload.name is not None and not {"filename", "name"} & said.keys():
        said["filename"] = upload.name
    if upload.media_type is not None and not {"filetype", "type"} & said.keys():
        said["filetype"] = upload.media_type
    return {_sound(name): _sound(value) for name, value in said.items()}


def _sound(text: str) -> str:
    """*text* as JSON can say it: names may hold lone surrogates."""
    return text.encode("utf-8", "replace").decode()


def _request(request: Request | None, *, covert: bool) -> dict[str, Any]:
    if request is None:
        return {"Method": "", "URI": "", "RemoteAddr": "", "Header": {}}
    fields: dict[str, list[str]] = {}
    for name, value in request.head.fields:
        if not (covert and name in _COVERT):
            spelt = "-".join(word.capitalize() for word in name.decode("latin-1").split("-"))
            fields.setdefault(spelt, []).append(value.decode("utf-8", "replace"))
    head = request.head
    return {
        "Method": head.method,
        "URI": _without_query(head.target) if covert else head.target,
        "RemoteAddr": request.remote,
        "Header": fields,
    }


def _without_query(target: str) -> str:
    """*target* without what may hold a token or the secret of a link."""
    return target.partition("?")[0]


def environment(upload: Upload | Draft) -> dict[str, str]:
    """What tusd tells a program in its environment."""
    return {
        "TUS_ID": upload.id,
        "TUS_SIZE": str(upload.length or 0),
        "TUS_OFFSET": str(upload.offset),
    }


# --- what it answers ----------------------------------------------------------------------------


class _Response(msgspec.Struct, frozen=True, rename="pascal"):
    status_code: int = 0
    body: str = ""
    header: dict[str, str] | None = None


class _Storage(msgspec.Struct, frozen=True, rename="pascal"):
    path: str = ""


class _Changes(msgspec.Struct, frozen=True):
    id: str = msgspec.field(default="", name="ID")
    metadata: dict[str, str] | None = msgspec.field(default=None, name="MetaData")
    storage: _Storage | None = msgspec.field(default=None, name="Storage")


class _Document(msgspec.Struct, frozen=True):
    response: _Response | None = msgspec.field(default=None, name="HTTPResponse")
    reject: bool = msgspec.field(default=False, name="RejectUpload")
    keep: bool = msgspec.field(default=False, name="RejectTermination")
    changes: _Changes | None = msgspec.field(default=None, name="ChangeFileInfo")
    stop: bool = msgspec.field(default=False, name="StopUpload")


@dataclass(frozen=True, slots=True)
class Answer:
    """What a receiver wants."""

    refused: Refused | None = None
    metadata: Mapping[str, str] | None = None
    place: str | None = None
    """A path below the root, safe on disk."""


def answered(kind: str, body: bytes) -> Answer:
    """What *body* asks for where it may: nothing, when it is empty.  Raises HookFailed."""
    if kind in TOLD or not body.strip():
        return Answer()
    try:
        said = msgspec.json.decode(body, type=_Document)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise HookFailed(f"a {kind} hook answered with what is no answer: {error}") from error
    no = {PRE_TERMINATE: said.keep, POST_RECEIVE: said.stop}.get(kind, said.reject)
    if no:
        return Answer(_refused(kind, said.response or _Response()))
    changes = said.changes
    if changes is None or kind not in (PRE_CREATE, PRE_FINISH):
        return Answer()
    if changes.id:
        raise HookFailed(f"a {kind} hook answered with an ID: those are given here, not chosen")
    path = changes.storage.path if changes.storage is not None else ""
    return Answer(metadata=changes.metadata, place=safe_place(path) if path else None)


def _refused(kind: str, response: _Response) -> Refused:
    status = response.status_code if 400 <= response.status_code <= 599 else None
    verb = {PRE_TERMINATE: "to end", POST_RECEIVE: "to go on with"}.get(kind, "to take")
    said = "".join(c if c.isprintable() else " " for c in response.body).strip()
    error = Refused(said[:MAX_SAID] or f"whoever runs this server has refused {verb} this upload")
    error.status, error.body = status, response.body or None
    error.fields = tuple(
        (name, value)
        for name, value in (response.header or {}).items()
        if _is_field(name, value) and name.lower() not in _FRAMING
    )
    return error


def _is_field(name: str, value: str) -> bool:
    """Whether it can stand in a head, and be nothing else there."""
    token = name.isascii() and name.replace("-", "").replace("_", "").isalnum()
    return token and value.isascii() and value.isprintable()


def safe_place(path: str) -> str:
    """*path* below the root, each step made safe; what is left of ``..`` and ``.`` is nothing."""
    steps = [safe for step in path.split("/") if (safe := names.sanitise(step, ""))]
    if not steps:
        raise HookFailed(f"a hook chose {path[:60]!r}, which is no place for a file")
    return "/".join(steps[-names.DEEPEST :])
