"""What a client says about its file in header fields: ``Upload-Metadata`` and a disposition.

The text goes back as it came; what was understood of it are plain texts, never a path.
"""

from __future__ import annotations

import binascii
import re
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import unquote_to_bytes

from uploadd.errors import BadRequest

MAX_VALUE: Final = 4096  # bytes, decoded
MAX_KEYS: Final = 100
MAX_MEDIA_TYPE: Final = 255

_NAME_KEYS: Final = ("filename", "name")
_TYPE_KEYS: Final = ("filetype", "type")


@dataclass(frozen=True, slots=True)
class Metadata:
    """Of one upload."""

    verbatim: str = ""
    """As sent; empty when there is none."""
    texts: Mapping[str, str] = field(default_factory=dict)
    """The values that are UTF-8, by key."""

    @property
    def name(self) -> str | None:
        """What the client calls the file."""
        return self._first(_NAME_KEYS)

    @property
    def media_type(self) -> str | None:
        """What the client declares the file to be."""
        said = self._first(_TYPE_KEYS)
        return said if said is not None and len(said) <= MAX_MEDIA_TYPE else None

    def _first(self, keys: tuple[str, ...]) -> str | None:
        return next((text for key in keys if (text := self.texts.get(key))), None)


def parse(value: bytes | None) -> Metadata:
    """The metadata in a field's value: ``key base64,key base64``; raises BadRequest.

    An empty field is none at all: tuspy sends it so.
    """
    if not value:
        return Metadata()
    pairs = value.split(b",", MAX_KEYS)
    if len(pairs) > MAX_KEYS:
        raise BadRequest(f"Upload-Metadata has more than {MAX_KEYS} keys")
    decoded: dict[str, bytes] = {}
    for pair in pairs:
        key, value_of_key = _pair(pair)
        if key in decoded:
            raise BadRequest(f"Upload-Metadata has the key {key[:80]!r} twice")
        decoded[key] = value_of_key
    return Metadata(value.decode("latin-1"), _texts(decoded))


def _pair(pair: bytes) -> tuple[str, bytes]:
    """Key and value; the value may be left out, and the space before it then, too."""
    words = pair.strip(b" \t").split(b" ", 2)
    key = words[0].decode("latin-1")
    if not key:
        raise BadRequest("Upload-Metadata has an empty key")
    if len(words) > 2 or "\t" in key:
        raise BadRequest(f"Upload-Metadata has more than a key and a value at {key[:80]!r}")
    try:
        decoded = binascii.a2b_base64(words[1], strict_mode=True) if len(words) > 1 else b""
    except binascii.Error as exc:
        raise BadRequest(
            f"the value of {key[:80]!r} in Upload-Metadata is not base64: {exc}"
        ) from None
    if len(decoded) > MAX_VALUE:
        raise BadRequest(f"the value of {key[:80]!r} in Upload-Metadata is over {MAX_VALUE} bytes")
    return key, decoded


def _texts(decoded: Mapping[str, bytes]) -> dict[str, str]:
    texts = {}
    for key, value in decoded.items():
        try:
            texts[key] = value.decode("utf-8")  # strict: no lone surrogate passes
        except UnicodeDecodeError:
            continue  # it is sent back as it came
    return texts


def write(texts: Mapping[str, str]) -> str:
    """The field's value for what came another way; keys that it cannot say are left out."""
    pairs = []
    for key, text in texts.items():
        if re.fullmatch(r"[!-+\--~]+", key):
            encoded = b64encode(text.encode("utf-8", "replace")).decode("ascii")
            pairs.append(f"{key} {encoded}" if encoded else key)
    return ",".join(pairs)


# --- Content-Disposition (RFC 6266) -----------------------------------------------------------

_WORD: Final = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_KIND: Final = re.compile(rf"({_WORD})")
_PARAMETER: Final = re.compile(
    rf'[ \t]*;[ \t]*({_WORD})[ \t]*=[ \t]*(?:({_WORD})|"((?:[^"\\]|\\.)*)")'
)
_END: Final = re.compile(r"[ \t]*(?:;[ \t]*)?")  # a last semicolon is common, and means nothing
_EXTENDED: Final = re.compile(
    r"(?i:utf-8)'[A-Za-z0-9-]*'((?:[!#$&+\-.^_`|~0-9A-Za-z]|%[0-9A-Fa-f]{2})*)"
)


def disposition_name(text: str) -> str | None:
    """The file name in a Content-Disposition; None for none, and for a field that is malformed.

    ``filename*`` counts more than ``filename``, if it is what RFC 8187 says.
    """
    given = _parameters(text)
    if given is None:
        return None
    name = _extended(given.get("filename*", "")) or given.get("filename")
    return name or None


def _parameters(text: str) -> dict[str, str] | None:
    """The parameters by name in lower case; None when the field is malformed."""
    kind = _KIND.match(text)
    if kind is None:
        return None
    given: dict[str, str] = {}
    at = kind.end()
    while found := _PARAMETER.match(text, at):
        name, plain, quoted = found.groups()
        if name.lower() in given:
            return None
        given[name.lower()] = plain if plain is not None else re.sub(r"\\(.)", r"\1", quoted)
        at = found.end()
    return given if _END.fullmatch(text, at) else None


def _extended(value: str) -> str | None:
    """The text of an extended value (RFC 8187 section 3.2), None when it is not one in UTF-8."""
    found = _EXTENDED.fullmatch(value)
    if found is None:
        return None
    try:
        return unquote_to_bytes(found[1]).decode("utf-8")
    except UnicodeDecodeError:
        return None
