"""Preconditions of GET and HEAD, in the order of RFC 9110 section 13.2.2.

A published file never changes under its id, so the id is its strong entity tag, and the date of
its last modification is as strong a validator as the tag.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import Enum

from uploadd.protocol.dates import parse_date
from uploadd.protocol.fields import Received, joined, single, values

_TAG = re.compile(r'[\t ,]*(W/)?("[\x21\x23-\x7e\x80-\xff]*")[\t ]*(?=,|\Z)')


class Outcome(Enum):
    """What the preconditions of a request come to."""

    PROCEED = "answer as if there were none"
    IGNORE_RANGE = "answer with the whole file: the part the client has is of another one"
    NOT_MODIFIED = "304: the client has it"
    FAILED = "412: this is not the file that the client means"


def entity_tag(upload_id: str) -> str:
    """The strong entity tag of an upload, the same on every node."""
    return f'"{upload_id}"'


def evaluate(received: Received, *, etag: str, modified: int, now: int) -> Outcome:
    """The outcome for a GET or HEAD of a file with *etag*, *modified* at epoch seconds.

    Only for a request that would be answered 2xx without its preconditions (RFC 9110 13.2.1).
    """
    received = list(received)
    if not _is_meant(received, etag, modified, now):
        return Outcome.FAILED
    if _is_held(received, etag, modified, now):
        return Outcome.NOT_MODIFIED
    if not _goes_on(received, etag, modified, now):
        return Outcome.IGNORE_RANGE
    return Outcome.PROCEED


def _is_meant(received: Received, etag: str, modified: int, now: int) -> bool:
    """If-Match by strong comparison, without it If-Unmodified-Since."""
    listed = joined(received, b"if-match")
    if listed is not None:
        return listed == "*" or (False, etag) in _tags(listed)
    since = _date(received, b"if-unmodified-since", now)
    return since is None or modified <= since


def _is_held(received: Received, etag: str, modified: int, now: int) -> bool:
    """If-None-Match by weak comparison, without it If-Modified-Since."""
    listed = joined(received, b"if-none-match")
    if listed is not None:
        return listed == "*" or any(tag == etag for _, tag in _tags(listed))
    since = _date(received, b"if-modified-since", now)
    return since is not None and modified <= since


def _goes_on(received: Received, etag: str, modified: int, now: int) -> bool:
    """If-Range: absent, the very tag, or the very date.  Without a Range it changes nothing."""
    found = values(received, b"if-range")
    if not found:
        return True
    return len(found) == 1 and (found[0] == etag or parse_date(found[0], now) == modified)


def _tags(listed: str) -> Iterator[tuple[bool, str]]:
    """(weak, opaque tag) of a list of entity tags, up to the first that is none."""
    at = 0
    while match := _TAG.match(listed, at):
        yield match[1] is not None, match[2]
        at = match.end()


def _date(received: Received, name: bytes, now: int) -> int | None:
    """A date in a field that must be ignored when it is not exactly one valid date."""
    text = single(received, name)
    return None if text is None else parse_date(text, now)
