"""Byte ranges: which spans of a file a request asks for, and how several are framed (RFC 9110 14).

A ``Range`` that is absent, malformed, of another unit or of too many ranges is ignored, as the
RFC allows: the whole file is the right answer to it.  Everything here is linear in the header
but for one sort of at most 16 ranges.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, NamedTuple

MAX_RANGES: Final = 16
"""More are ignored; players ask for one, PDF viewers for a handful."""

# Nineteen digits hold 2**63 - 1, the largest offset a file can have.
_SPEC = re.compile(r"([0-9]{1,19})-([0-9]{0,19})|-([0-9]{1,19})")
_BOUNDARY = re.compile(r"[0-9A-Za-z_-]{1,70}")  # those of RFC 2046 that need no quoting
_CRLF: Final = "\r\n"


class Span(NamedTuple):
    """The bytes [start, end) of a file."""

    start: int
    end: int


class Selection(NamedTuple):
    """What a Range selects."""

    status: int
    """200: the whole file. 206: the spans. 416: no range lies inside the file."""
    spans: tuple[Span, ...]
    """In the order asked for, none empty but that of an empty file, none touching another."""


class Framing(NamedTuple):
    """What stands around the spans of a multipart/byteranges body (RFC 9110 14.6)."""

    prefixes: tuple[bytes, ...]
    """What to send before each span."""
    closing: bytes
    """What to send after the last."""
    content_length: int
    """Of all that with the spans, in bytes."""


def select(value: str | None, length: int) -> Selection:
    """What the Range header *value* selects of a file of *length* bytes."""
    whole = Selection(200, (Span(0, length),))
    # No Content-Range can name a part of an empty file, and clients that always send a Range
    # want nothing but the file.
    if value is None or length == 0:
        return whole
    specs = _parse(value)
    if specs is None:
        return whole
    spans = [span for spec in specs if (span := _resolve(spec, length)) is not None]
    return Selection(206, _coalesce(spans)) if spans else Selection(416, ())


def content_range(span: Span | None, length: int) -> str:
    """The Content-Range of *span*; None is said with 416 and tells only *length*."""
    return f"bytes */{length}" if span is None else f"bytes {span.start}-{span.end - 1}/{length}"


def frame(boundary: str, media_type: str, spans: Sequence[Span], length: int) -> Framing:
    """How *spans* of a file of *length* bytes stand in one multipart/byteranges body.

    *boundary* must not occur in the file: choose it at random.
    """
    if not _BOUNDARY.fullmatch(boundary):
        raise ValueError(f"not a multipart boundary: {boundary!r}")
    prefixes = tuple(
        (
            f"{'' if at == 0 else _CRLF}--{boundary}{_CRLF}"
            f"Content-Type: {media_type}{_CRLF}"
            f"Content-Range: {content_range(span, length)}{_CRLF}{_CRLF}"
        ).encode("ascii")
        for at, span in enumerate(spans)
    )
    closing = f"{_CRLF}--{boundary}--{_CRLF}".encode("ascii")
    framing = sum(map(len, prefixes)) + len(closing)
    return Framing(prefixes, closing, framing + sum(span.end - span.start for span in spans))


def _parse(value: str) -> list[re.Match[str]] | None:
    """The ranges of a header, None when it is to be ignored."""
    unit, _, listed = value.partition("=")
    if unit.lower() != "bytes":
        return None
    specs: list[re.Match[str]] = []
    for element in listed.split(","):
        text = element.strip(" \t")
        if not text:
            continue  # empty elements of a list are nothing (RFC 9110 5.6.1)
        spec = _SPEC.fullmatch(text)
        if spec is None or len(specs) == MAX_RANGES:
            return None
        if spec[2] and int(spec[2]) < int(spec[1]):
            return None
        specs.append(spec)
    return specs or None


def _resolve(spec: re.Match[str], length: int) -> Span | None:
    """The span that one range names in a file of *length* > 0 bytes, None when it has none."""
    first, last, suffix = spec.groups()
    if suffix is not None:
        return Span(max(0, length - int(suffix)), length) if int(suffix) else None
    start = int(first)
    if start >= length:
        return None
    return Span(start, min(int(last) + 1, length) if last else length)


def _coalesce(spans: list[Span]) -> tuple[Span, ...]:
    """Those that overlap or touch as one, in the place of the first of them (RFC 9110 15.3.7.2)."""
    runs: list[tuple[int, Span]] = []
    for place, span in sorted(enumerate(spans), key=lambda item: item[1]):
        if runs and span.start <= runs[-1][1].end:
            first, run = runs[-1]
            runs[-1] = (min(first, place), Span(run.start, max(run.end, span.end)))
        else:
            runs.append((place, span))
    return tuple(span for _, span in sorted(runs))
