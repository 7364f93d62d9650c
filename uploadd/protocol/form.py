"""multipart/form-data (RFC 7578), piece by piece: files as they come, fields when they are whole.

The parsing is that of the ``multipart`` library; here are the limits, and what a browser means.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from html import escape
from typing import Final, NamedTuple, TypeAlias

import multipart

from uploadd.errors import BadRequest, UnsupportedMediaType
from uploadd.protocol import names, pages
from uploadd.protocol.fields import Field
from uploadd.protocol.heads import Head
from uploadd.protocol.requests import check_coding
from uploadd.protocol.upload import Upload

MEDIA_TYPE: Final = "multipart/form-data"
MAX_PARTS: Final = 2000
"""Files and fields of one form."""
MAX_FIELDS: Final = 8 * 1024
"""Bytes of all that is no file, names included: every file of the form keeps them."""
MAX_BOUNDARY: Final = 70  # RFC 2046, 5.1.1


class FileBegins(NamedTuple):
    """A file: what follows are its bytes, then `FileEnds`."""

    name: str | None
    path: str
    """With the folders that the browser told; empty without."""
    media_type: str | None
    field: str = ""
    """The name of the field that it is in."""


class FileEnds(NamedTuple):
    """The file is whole, the form is not."""


class Value(NamedTuple):
    """A field that is no file."""

    name: str
    text: str


Event: TypeAlias = FileBegins | bytes | FileEnds | Value


def is_form(head: Head) -> bool:
    """Whether the body is a form."""
    kind = (head.get(b"content-type") or b"").partition(b";")[0].strip().lower()
    return kind == MEDIA_TYPE.encode("ascii")


class Form:
    """The body of *head*: `feed` it until its end, then `end`."""

    def __init__(self, head: Head) -> None:
        if not is_form(head):
            raise UnsupportedMediaType(
                f"a POST here is a form ({MEDIA_TYPE})",
                hint="one file: curl -T FILE URL/; a form: curl -F file=@FILE URL/",
            )
        check_coding(head)
        told = (head.get(b"content-type") or b"").decode("ascii")
        boundary = multipart.parse_options_header(told)[1].get("boundary", "")
        if not 0 < len(boundary) <= MAX_BOUNDARY:
            raise BadRequest("a form needs a boundary of 1 to 70 characters in its Content-Type")
        # Not strict: that refuses what follows the last boundary only if it comes by itself.
        self._parser = multipart.PushMultipartParser(boundary, max_segment_count=MAX_PARTS)
        self._opening = b"--" + boundary.encode("ascii")
        self._first = b""
        self._field: str | None = None  # the name of the field that is being read
        self._text = bytearray()
        self._texts = 0

    def feed(self, data: bytes) -> Iterator[Event]:
        """What *data* brings.  Raises BadRequest: the form is not one, or over its limits."""
        if len(self._first) < len(self._opening):
            data, self._first = self._first + data, (self._first + data)[: len(self._opening)]
            if not self._opening.startswith(self._first):
                raise BadRequest("the form does not begin with its boundary")
            if len(self._first) < len(self._opening):
                return
        try:
            for event in self._parser.parse(data):
                yield from self._event(event)
        except multipart.MultipartError as error:
            raise BadRequest(f"the form is malformed: {error}") from error

    def end(self) -> None:
        """The body has ended.  Raises BadRequest when the form has not."""
        try:
            self._parser.close()
        except multipart.MultipartError as error:
            raise BadRequest("the form breaks off: its last boundary is missing") from error

    def _event(
        self, event: multipart.MultipartSegment | bytes | bytearray | None
    ) -> Iterator[Event]:
        if isinstance(event, multipart.MultipartSegment):
            if not event.name:
                raise BadRequest("a part of the form has no name")
            if event.filename is None:
                self._field = event.name
                self._text.clear()
                self._count(len(event.name))
            else:
                yield _file(event)
        elif event is None:
            yield FileEnds() if self._field is None else Value(self._field, _text(self._text))
            self._field = None
        elif self._field is None:
            yield bytes(event)
        else:
            self._add(event)

    def _add(self, data: bytes | bytearray) -> None:
        self._text += data
        self._count(len(data))

    def _count(self, count: int) -> None:
        self._texts += count
        if self._texts > MAX_FIELDS:
            raise BadRequest(
                "the fields of the form that are no files are too long",
                hint=f"{MAX_FIELDS // 1024} KiB in all; send what is longer as a file",
            )


def _file(segment: multipart.MultipartSegment) -> FileBegins:
    told = (segment.filename or "").replace("\\", "/")
    name = told.rpartition("/")[2]
    return FileBegins(name or None, told if "/" in told else "", segment.content_type, segment.name)


def _text(data: bytes | bytearray) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadRequest("a field of the form is not UTF-8") from error


def metadata(begins: FileBegins, values: Sequence[Value], *, alone: bool) -> dict[str, str]:
    """What is kept with a file: the fields of its form, and where it lay.

    *alone*: it is the only one, so that a field with a path is about it.
    """
    kept = {value.name: value.text for value in values}
    if not alone:
        kept.pop(names.RELATIVE_PATH, None)
    if begins.path:
        kept[names.RELATIVE_PATH] = begins.path
    return kept


def stored(
    uploads: Sequence[tuple[Upload, bytes]], *, page: bool
) -> tuple[int, list[Field], bytes]:
    """Status, fields and body that say where the files are: JSON, or a *page* for a person.

    Each upload comes with the SHA-256 of its bytes.
    """
    if page:
        return _page([upload for upload, _ in uploads])
    files = [
        {
            "url": pages.file_path(upload.id, upload.name),
            "id": upload.id,
            "name": upload.name,
            "length": upload.length,
            "digest": {"sha-256": digest.hex()},
        }
        for upload, digest in uploads
    ]
    told = {**(files[0] if files else {}), "files": files}
    fields = [("Content-Type", "application/json"), ("Cache-Control", "no-store")]
    if files:
        fields.append(("Location", str(files[0]["url"])))
    return 201, fields, json.dumps(told).encode("ascii") + b"\n"


def _page(uploads: Sequence[Upload]) -> tuple[int, list[Field], bytes]:
    """For a browser without scripts."""
    rows = "".join(
        f'<li><a href="{escape(pages.file_path(upload.id, upload.name))}">'
        f"{escape(upload.name or upload.id)}</a> {upload.length} bytes</li>"
        for upload in uploads
    )
    text = (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>Stored</title>'
        f'<h1>Stored</h1><ul>{rows}</ul><p><a href="/">More</a></p></html>\n'
    )
    fields = [
        ("Content-Type", "text/html; charset=utf-8"),
        ("Content-Security-Policy", "default-src 'none'"),
        ("Cache-Control", "no-store"),
        ("X-Content-Type-Options", "nosniff"),
    ]
    return 201, fields, text.encode("utf-8", "replace")
