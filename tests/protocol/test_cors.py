"""Pages of other origins: those of the list, each by its name, and nobody else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from uploadd.protocol import cors
from uploadd.protocol.heads import Head, HeadGate
from uploadd.protocol.origins import Origin

LIST = {Origin("https", "good.example", 443), Origin("http", "localhost", 3000)}
METHODS = ("POST", "PATCH", "OPTIONS")
ASKS = "Access-Control-Request-Method: PATCH"
PRIVATE = "Access-Control-Request-Private-Network: true"


def head(method: str, *fields: str) -> Head:
    """A request to ``here:8000``."""
    gate = HeadGate()
    lines = [f"{method} /files/ HTTP/1.1", "Host: here:8000", *fields, "", ""]
    gate.feed("\r\n".join(lines).encode("latin-1"))
    made = gate.next()
    assert made is not None
    return made


@pytest.mark.parametrize("text", ["https://good.example", "http://localhost:3000"])
def test_a_page_of_the_list_sees_the_answer(text: str) -> None:
    """Its origin as it said it, never *; the fields that it may read; and caches are told."""
    told = dict(cors.fields(head("PATCH", f"Origin: {text}"), LIST))
    assert told["Access-Control-Allow-Origin"] == text
    assert told["Access-Control-Allow-Credentials"] == "true"
    assert told["Vary"] == "Origin"
    assert "*" not in "".join(told.values())
    assert "Upload-Offset" in told["Access-Control-Expose-Headers"]


@pytest.mark.parametrize(
    "fields",
    [
        *[[], ["Origin: null"], ["Origin:"], ["Origin: *"], ["Origin: https://evil.example"]],
        *[["Origin: https://good.example.evil.com"], ["Origin: https://good.example:8443"]],
        *[["Origin: http://good.example"], ["Origin: https://sub.good.example"]],
        *[["Origin: https://good.example/"], ["Origin: http://here:8000"]],
        *[["Origin: https://good.example, https://good.example"], ["Origin: localhost:3000"]],
        ["Origin: https://good.example", "Origin: https://evil.example"],
    ],
)
def test_any_other_page_sees_nothing(fields: list[str]) -> None:
    """T5, T6: exact match of scheme, host and port; one of our own needs nothing."""
    assert cors.fields(head("PATCH", *fields), LIST) == [("Vary", "Origin")]
    asked = head("OPTIONS", *fields, ASKS, PRIVATE)
    assert cors.preflight(asked, METHODS, LIST) == [("Vary", "Origin")]


@given(
    st.sampled_from(["GET", "POST", "OPTIONS"]), st.sampled_from(["https://good.example", "null"])
)
def test_without_a_list_nothing_is_said(method: str, origin: str) -> None:
    """The default: only pages of our own."""
    made = head(method, f"Origin: {origin}", ASKS)
    assert cors.fields(made, ()) == cors.preflight(made, METHODS, ()) == []


def test_a_preflight_learns_methods_and_fields_but_no_private_network() -> None:
    """All that tus and the IETF's clients send."""
    made = head("OPTIONS", "Origin: https://good.example", ASKS, PRIVATE)
    told = dict(cors.preflight(made, METHODS, LIST))
    assert told["Access-Control-Allow-Origin"] == "https://good.example"
    assert told["Access-Control-Allow-Methods"] == "POST, PATCH, OPTIONS"
    assert int(told["Access-Control-Max-Age"]) == 7200
    assert told["Vary"] == "Origin"
    assert not any("Private-Network" in name for name in told)
    assert not any("*" in value for value in told.values())
    assert {name.strip() for name in told["Access-Control-Allow-Headers"].split(",")} >= {
        *("Authorization", "Content-Type", "Upload-Length", "Upload-Offset", "Upload-Metadata"),
        *("Upload-Defer-Length", "Upload-Concat", "Upload-Checksum", "Tus-Resumable"),
        *("X-HTTP-Method-Override", "X-Requested-With", "X-Request-ID", "Upload-Complete"),
        *("Upload-Incomplete", "Upload-Draft-Interop-Version", "Content-Disposition"),
        *("Repr-Digest", "Content-Digest", "Want-Repr-Digest"),
    }


def test_what_a_page_may_read_is_all_that_the_dialects_say() -> None:
    """Section 2.3, item 12."""
    assert set(cors.ANSWER_FIELDS) >= {
        *("Location", "Upload-Offset", "Upload-Length", "Upload-Metadata", "Upload-Expires"),
        *("Upload-Concat", "Upload-Defer-Length", "Tus-Version", "Tus-Resumable", "Tus-Max-Size"),
        *("Tus-Extension", "Tus-Checksum-Algorithm", "Upload-Complete", "Upload-Limit"),
        *("Upload-Draft-Interop-Version", "Repr-Digest", "ETag", "Content-Range", "Accept-Ranges"),
    }


def test_options_that_is_no_preflight_is_an_answer_like_any_other() -> None:
    """A page that asks what is spoken here may read it."""
    made = head("OPTIONS", "Origin: https://good.example")
    assert cors.preflight(made, METHODS, LIST) == cors.fields(made, LIST)
    assert "Access-Control-Expose-Headers" in dict(cors.fields(made, LIST))
