"""The fields that make it safe to serve what a stranger uploaded (RFC 6266, 8187, CSP).

Nothing is shown inside a page's origin but what cannot carry a script; everything else is saved.
A browser that disregards one of these fields is stopped by another.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final
from urllib.parse import quote

from uploadd.protocol.fields import Field
from uploadd.protocol.names import sanitise, split

UNKNOWN: Final = "application/octet-stream"

INLINE: Final = frozenset({
    "text/plain",
    "image/png", "image/jpeg", "image/gif", "image/webp", "image/avif",
    "audio/mpeg", "audio/mp4", "audio/aac", "audio/ogg", "audio/opus", "audio/wav", "audio/x-wav",
    "audio/webm", "audio/flac", "audio/x-m4a",
    "video/mp4", "video/webm", "video/ogg", "video/quicktime", "video/x-matroska", "video/x-m4v",
})  # fmt: skip
"""Media types that a browser may show.  Never SVG, HTML, XML or PDF: those are programs."""

# Our own table: what the system's files say differs from host to host.
_GUESSES: Final = {
    ".7z": "application/x-7z-compressed",
    ".aac": "audio/aac",
    ".avi": "video/x-msvideo",
    ".avif": "image/avif",
    ".bin": UNKNOWN,
    ".bmp": "image/bmp",
    ".bz2": "application/x-bzip2",
    ".css": "text/css",
    ".csv": "text/csv",
    ".doc": "application/msword",
    ".docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    ".epub": "application/epub+zip",
    ".flac": "audio/flac",
    ".gif": "image/gif",
    ".gz": "application/gzip",
    ".heic": "image/heic",
    ".htm": "text/html",
    ".html": "text/html",
    ".jpeg": "image/jpeg",
    ".jpg": "image/jpeg",
    ".js": "text/javascript",
    ".json": "application/json",
    ".log": "text/plain",
    ".m4a": "audio/mp4",
    ".m4v": "video/x-m4v",
    ".md": "text/markdown",
    ".mkv": "video/x-matroska",
    ".mov": "video/quicktime",
    ".mp3": "audio/mpeg",
    ".mp4": "video/mp4",
    ".oga": "audio/ogg",
    ".ogg": "audio/ogg",
    ".ogv": "video/ogg",
    ".opus": "audio/opus",
    ".pdf": "application/pdf",
    ".png": "image/png",
    ".ppt": "application/vnd.ms-powerpoint",
    ".pptx": "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    ".svg": "image/svg+xml",
    ".tar": "application/x-tar",
    ".tif": "image/tiff",
    ".tiff": "image/tiff",
    ".txt": "text/plain",
    ".wav": "audio/wav",
    ".webm": "video/webm",
    ".webp": "image/webp",
    ".xls": "application/vnd.ms-excel",
    ".xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    ".xml": "application/xml",
    ".xz": "application/x-xz",
    ".zip": "application/zip",
    ".zst": "application/zstd",
}

_NAME = r"[a-z0-9][a-z0-9!#$&^_.+-]{0,126}"  # restricted-name of RFC 6838 4.2
_MEDIA_TYPE = re.compile(rf"{_NAME}/{_NAME}")
_ATTR_CHARS: Final = "!#$&+-.^_`|~"  # beside letters and digits (RFC 8187 3.2.1)
# Some clients unquote a backslash and decode a percent sign, some do not: neither is sent.
_AMBIGUOUS: Final = frozenset('"\\%')


def media_type(declared: str | None, name: str | None) -> str:
    """``type/subtype`` to serve a file with: as declared if clean, guessed if not declared.

    Parameters are dropped, and a multipart type with them: without its boundary it means nothing.
    """
    if declared is None or not declared.strip():
        return guess(name)
    essence = declared.partition(";")[0].strip(" \t").lower()
    clean = _MEDIA_TYPE.fullmatch(essence) and not essence.startswith("multipart/")
    return essence if clean else UNKNOWN


def guess(name: str | None) -> str:
    """The media type that the suffix of *name* stands for."""
    suffix = split((name or "").lower())[1].rpartition(".")[2]
    return _GUESSES.get(f".{suffix}", UNKNOWN)


def disposition(name: str | None, kind: str) -> str:
    """Content-Disposition of a file of the media type *kind*: shown or saved, under which name.

    ASCII whatever the name: a fallback for old clients (and curl), then all of it in UTF-8.
    """
    how = "inline" if kind in INLINE else "attachment"
    safe = sanitise(name, "file")
    return f"{how}; filename=\"{_ascii(safe)}\"; filename*=UTF-8''{quote(safe, _ATTR_CHARS)}"


def headers(name: str | None, declared: str | None) -> list[Field]:
    """The fields that describe a file called *name*, which its client declared to be *declared*."""
    kind = media_type(declared, name)
    return [
        ("Content-Type", f"{kind}; charset=utf-8" if kind == "text/plain" else kind),
        ("Content-Disposition", disposition(name, kind)),
        ("X-Content-Type-Options", "nosniff"),
        ("Content-Security-Policy", "sandbox; default-src 'none'"),
        ("Cross-Origin-Resource-Policy", "same-origin"),
    ]


def _ascii(name: str) -> str:
    """*name* without its accents, and with ``_`` for what is still not plain ASCII."""
    plain = (c for c in unicodedata.normalize("NFKD", name) if not unicodedata.combining(c))
    text = "".join(c if " " <= c <= "~" and c not in _AMBIGUOUS else "_" for c in plain)
    # Once more: a fullwidth solidus has become a slash.
    return sanitise(text, "file")
