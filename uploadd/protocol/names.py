"""From what a client calls a file to a name that is safe on disk.

Names from clients are metadata, never paths: no separator, no control or bidirectional
character, nothing hidden, no reserved device name, at most 200 bytes of UTF-8.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from itertools import islice
from string import Formatter
from typing import Final

from uploadd.errors import BadRequest

MAX_NAME: Final = 1024
"""Of what a client calls a file, in UTF-8: four times NAME_MAX.  It is told in every list."""
MAX_BYTES: Final = 200
"""Of UTF-8; leaves room below the 255 of the file systems for ``-99`` or an id."""
CLASHES: Final = 100
"""After that many clashes the id goes into the name."""
FIELDS: Final = ("name", "date", "id", "subject", "folder")
RELATIVE_PATH: Final = "relativePath"
"""The field of the metadata with a file's path below what was chosen; Uppy calls it so, too."""
DEEPEST: Final = 16
"""Folders in one another that a client may ask for; what lies deeper comes to lie there."""

_RESERVED = re.compile(r"(?i)^(con|prn|aux|nul|com\d|lpt\d)(\..*)?$")
_EDGES: Final = "." + "".join(c for c in map(chr, range(0x3001)) if c.isspace())
_DROPPED = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_ESCAPED = re.compile(r"(?i)%(?=[01][0-9a-f]|2[ef]|5c|7f)")
"""Would be a separator, a dot or a control character for who decodes an address once too often."""


_PLAIN = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9 ._-]{0,198}[A-Za-z0-9_-])?")


def check(name: str | None) -> None:
    """Raises BadRequest for a name that is no file's: no system has longer ones."""
    if name is not None and (size := len(name.encode("utf-8", "replace"))) > MAX_NAME:
        raise BadRequest(f"the name of a file has at most {MAX_NAME} bytes, not {size}")


def sanitise(name: str | None, fallback: str) -> str:
    """A file name for *name*: one path component, the same for the same input."""
    if name is not None and _PLAIN.fullmatch(name) and not _RESERVED.match(name):
        return name  # as most are: there is nothing to do
    text = unicodedata.normalize("NFC", (name or "").encode("utf-8", "replace").decode())
    text = "".join("_" if unicodedata.category(c) in _DROPPED or c in "/\\" else c for c in text)
    text = _ESCAPED.sub("_", text)
    text = text.strip(_EDGES)
    if not text.strip("_"):
        return fallback
    if _RESERVED.match(text):
        text = "_" + text
    return _clip(text, MAX_BYTES).strip(_EDGES)


def _clip(text: str, limit: int) -> str:
    """At most *limit* bytes of UTF-8, keeping a short suffix such as ``.tar.gz``."""
    if len(text.encode()) <= limit:
        return text
    stem, suffix = split(text)
    room = limit - len(suffix.encode())
    return stem.encode()[:room].decode("utf-8", "ignore") + suffix


def split(name: str) -> tuple[str, str]:
    """Stem and suffix; ``a.tar.gz`` gives ``a`` and ``.tar.gz``; a long suffix is none."""
    match = re.search(r"(\.tar)?\.[A-Za-z0-9]{1,12}\Z", name)
    if match is None or match.start() == 0:
        return name, ""
    return name[: match.start()], match.group()


def folders(path: str | None) -> str:
    """The folders of a client's relative path, its last step left out; empty for none.

    Each is one safe component; ``.``, ``..`` and what nothing is left of are left out.
    """
    if not path:
        return ""
    steps = path.replace("\\", "/").split("/")[:-1]
    return "/".join(islice((safe for step in steps if (safe := sanitise(step, ""))), DEEPEST))


def expand(template: str, **fields: str) -> str:
    """The path below the root for one upload: *template* with FIELDS filled in.

    Every value is safe already (``folder`` may be several steps, or none), and `check_template`
    has let *template* pass.
    """
    steps = template.format(**fields).split("/")
    return "/".join(_clip(step, MAX_BYTES) for step in steps if step)


def check_template(template: str) -> None:
    """Raises ValueError unless *template* is a relative path of known fields with a name in it."""
    for _, field, spec, conversion in Formatter().parse(template):
        if field is not None and (field not in FIELDS or spec or conversion):
            known = ", ".join(f"{{{name}}}" for name in FIELDS)
            raise ValueError(f'unknown field "{{{field}}}"; there are {known}')
    steps = template.split("/")
    if {"", ".", ".."}.intersection(steps) or not template.isprintable():
        raise ValueError(f'expected a relative path without . or .., not "{template}"')
    if steps[0].startswith(".uploadd"):
        raise ValueError(".uploadd/ is where unfinished uploads are kept; publish elsewhere")
    if any("{folder}" in step and step != "{folder}" for step in steps):
        raise ValueError("{folder} is a step of its own: {folder}/{name}")
    if "{name}" not in steps[-1] and "{id}" not in steps[-1]:
        raise ValueError("the last step needs {name} or {id}: all files would get one name")


def candidates(path: str, id: str) -> Iterator[str]:
    """Names to try, in order, until one is free: ``a.mp4``, ``a-2.mp4``, … then with the id.

    The last lies in the root: something that is no folder may have the name of one.
    """
    folder, slash, name = path.rpartition("/")
    stem, suffix = split(name)
    yield path
    for number in range(2, CLASHES + 1):
        yield f"{folder}{slash}{stem}-{number}{suffix}"
    last = f"{_clip(stem, MAX_BYTES - 40)}-{id}{suffix}"
    yield f"{folder}{slash}{last}"
    if folder:
        yield last
