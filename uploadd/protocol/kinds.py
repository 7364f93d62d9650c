"""Kinds of files: what a name promises, what the first bytes are, and whether both may come.

Only what tells itself by its first bytes is told apart; of the rest the name is believed, unless
the bytes are plainly something else.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Final

from uploadd.errors import TypeNotAllowed

HEAD: Final = 512
"""Bytes at the beginning of a file that are looked at."""
UNKNOWN: Final = "application/octet-stream"
PLAIN: Final = "text/plain"
ZIP: Final = "application/zip"

_MAGIC: Final[tuple[tuple[int, bytes, str], ...]] = (
    (0, b"\x89PNG\r\n\x1a\n", "image/png"),
    (0, b"\xff\xd8\xff", "image/jpeg"),
    (0, b"GIF8", "image/gif"),
    (8, b"WEBP", "image/webp"),
    (0, b"BM", "image/bmp"),
    (0, b"II*\0", "image/tiff"),
    (0, b"MM\0*", "image/tiff"),
    (4, b"ftypavif", "image/avif"),
    (4, b"ftypheic", "image/heic"),
    (4, b"ftypM4A", "audio/mp4"),
    (4, b"ftypqt", "video/quicktime"),
    (4, b"ftyp", "video/mp4"),
    (0, b"\x1aE\xdf\xa3", "video/webm"),
    (8, b"AVI ", "video/x-msvideo"),
    (8, b"WAVE", "audio/wav"),
    (0, b"OggS", "audio/ogg"),
    (0, b"fLaC", "audio/flac"),
    (0, b"ID3", "audio/mpeg"),
    (0, b"\xff\xfb", "audio/mpeg"),
    (0, b"%PDF-", "application/pdf"),
    (0, b"PK\x03\x04", ZIP),
    (0, b"PK\x05\x06", ZIP),
    (0, b"\x1f\x8b", "application/gzip"),
    (0, b"7z\xbc\xaf\x27\x1c", "application/x-7z-compressed"),
    (0, b"Rar!\x1a\x07", "application/vnd.rar"),
    (0, b"BZh", "application/x-bzip2"),
    (0, b"\xfd7zXZ\0", "application/x-xz"),
    (0, b"\x28\xb5\x2f\xfd", "application/zstd"),
    (257, b"ustar", "application/x-tar"),
    (0, b"\x7fELF", "application/x-executable"),
    (0, b"MZ", "application/x-msdownload"),
    (0, b"#!", "text/x-script"),
)
_MARKUP: Final = re.compile(
    rb"(?:\xef\xbb\xbf)?\s*(?:<!--.*?-->\s*)*<(?:!doctype html|html|head|body|script|iframe)",
    re.IGNORECASE | re.DOTALL,
)
_SVG: Final = re.compile(rb"(?:\xef\xbb\xbf)?\s*(?:<!--.*?-->\s*)*<svg", re.IGNORECASE | re.DOTALL)
_XML: Final = re.compile(rb"(?:\xef\xbb\xbf)?\s*<\?xml", re.IGNORECASE)
_CONTROLS: Final = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]")
_BY_SUFFIX: Final = {
    "png": "image/png",
    "jpg": "image/jpeg",
    "jpeg": "image/jpeg",
    "gif": "image/gif",
    "webp": "image/webp",
    "bmp": "image/bmp",
    "tif": "image/tiff",
    "tiff": "image/tiff",
    "avif": "image/avif",
    "heic": "image/heic",
    "svg": "image/svg+xml",
    "mp4": "video/mp4",
    "m4v": "video/mp4",
    "mov": "video/quicktime",
    "webm": "video/webm",
    "mkv": "video/webm",
    "avi": "video/x-msvideo",
    "m4a": "audio/mp4",
    "mp3": "audio/mpeg",
    "wav": "audio/wav",
    "ogg": "audio/ogg",
    "oga": "audio/ogg",
    "flac": "audio/flac",
    "pdf": "application/pdf",
    "zip": ZIP,
    "gz": "application/gzip",
    "tgz": "application/gzip",
    "7z": "application/x-7z-compressed",
    "rar": "application/vnd.rar",
    "bz2": "application/x-bzip2",
    "xz": "application/x-xz",
    "zst": "application/zstd",
    "tar": "application/x-tar",
    "exe": "application/x-msdownload",
    "sh": "text/x-script",
    "html": "text/html",
    "htm": "text/html",
    "xhtml": "text/html",
    "xml": "application/xml",
    "txt": PLAIN,
    "md": "text/markdown",
    "csv": "text/csv",
    "json": "application/json",
    "docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "pptx": "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    "odt": "application/vnd.oasis.opendocument.text",
    "epub": "application/epub+zip",
    "ods": "application/vnd.oasis.opendocument.spreadsheet",
}
_TELLING: Final = frozenset(kind for _, _, kind in _MAGIC) | {"text/html"}
"""Kinds that are known by their first bytes: a file of one of these must begin so."""


def sniff(begins: bytes) -> str:
    """The kind of a file that *begins* so; ``text/plain`` or UNKNOWN where nothing tells."""
    for at, magic, kind in _MAGIC:
        if begins.startswith(magic, at):
            return kind
    if _MARKUP.match(begins):
        return "text/html"  # also what a browser would run as such
    if _SVG.match(begins):
        return "image/svg+xml"
    if _XML.match(begins):
        return "application/xml"
    return UNKNOWN if _CONTROLS.search(begins) else PLAIN


def promised(name: str | None, media_type: str | None) -> str:
    """The kind that a name promises, or the client, where the name says nothing; or UNKNOWN."""
    suffix = (name or "").rpartition(".")[2].lower()
    said = (media_type or "").partition(";")[0].strip().lower()
    return _BY_SUFFIX.get(suffix) or said or UNKNOWN


@dataclass(frozen=True, slots=True)
class Types:
    """The kinds that are taken, as ``image/*`` or ``application/pdf``; empty: every kind."""

    allowed: Sequence[str] = ()

    @property
    def restrict(self) -> bool:
        """Whether there are any that are not taken."""
        return bool(self.allowed)

    def check_name(self, name: str | None, media_type: str | None) -> None:
        """Refuse what its name says it is.  Raises TypeNotAllowed."""
        if self.allowed and not self._takes(kind := promised(name, media_type)):
            raise self._refusal(f"by its name the file is {kind}")

    def check_content(self, name: str | None, media_type: str | None, begins: bytes) -> None:
        """Refuse what it *begins* as, or what it only says that it is.  Raises TypeNotAllowed."""
        if not self.allowed:
            return
        kind, said = sniff(begins), promised(name, media_type)
        vague = kind in (UNKNOWN, PLAIN, ZIP, "application/xml") and said not in _TELLING
        if not (self._takes(kind) or (vague and self._takes(said))):
            raise self._refusal(f"the file says that it is {said}, and begins as {kind}")

    def _takes(self, kind: str) -> bool:
        return any(fnmatchcase(kind, pattern) for pattern in self.allowed)

    def _refusal(self, told: str) -> TypeNotAllowed:
        taken = ", ".join(self.allowed)
        return TypeNotAllowed(f"{told}, which is not taken here", hint=f"taken are: {taken}")


ANYTHING: Final = Types()
