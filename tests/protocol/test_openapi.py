"""The OpenAPI document: of what there is, all of it, and nothing else."""

from __future__ import annotations

import json
import re

import msgspec
import pytest

from tests.protocol.test_routes import ID, head
from uploadd.errors import MethodNotAllowed
from uploadd.protocol import api, routes
from uploadd.protocol.heads import METHODS
from uploadd.protocol.openapi import OPERATIONS, document, page
from uploadd.protocol.routes import Conversation, route


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.id)
def test_every_operation_leads_somewhere(operation: object) -> None:
    """Its method is one of its path."""
    method, path = operation.method, operation.path  # type: ignore[attr-defined]
    found = route(head(method, path.replace("{upload}", ID)))
    assert found.conversation is not Conversation.OPTIONS
    assert ("{upload}" in path) is (found.upload is not None)


def test_everything_under_api_is_described() -> None:
    """But HEAD and OPTIONS, which say what GET says, and what there is."""
    described = {(op.method, op.path.replace("{upload}", ID)) for op in OPERATIONS}
    patterns = [row.path.pattern for row in routes._ROWS if row.path.pattern.startswith("/api")]
    paths = {re.sub(r"\(\?P<upload>.*?\}\)", ID, pattern) for pattern in patterns}
    found = set()
    for path in paths:
        for method in METHODS:
            try:
                route(head(method, path))
            except MethodNotAllowed:
                continue
            found.add((method, path))
    assert {pair for pair in found if pair[0] not in ("HEAD", "OPTIONS")} == described


def test_the_document_is_whole() -> None:
    """Every reference leads somewhere, every id is there once, every path parameter is declared."""
    told = document("1.2.3")
    assert (told["openapi"], told["info"]["version"]) == ("3.1.0", "1.2.3")
    text = json.dumps(told)
    for name in re.findall(r'"#/components/schemas/(\w+)"', text):
        assert name in told["components"]["schemas"]
    ids = [op["operationId"] for methods in told["paths"].values() for op in methods.values()]
    assert len(ids) == len(set(ids)) == len(OPERATIONS)
    for path, methods in told["paths"].items():
        for operation in methods.values():
            declared = {p["name"] for p in operation["parameters"] if p["in"] == "path"}
            assert declared == set(re.findall(r"\{(\w+)\}", path))
    status, fields, body = page("1")
    assert (status, dict(fields)["Content-Type"]) == (200, "application/json")
    assert json.loads(body)["paths"] == told["paths"]


def test_documents_are_told_as_they_are_described() -> None:
    """Members without a value are left out; those that are required are there."""
    shown = api.Shown(
        upload="u", state="queued", offset=0, held=0, received=0, created=1.0, modified=1.0
    )
    told = json.loads(api.told(shown)[2])
    schema = document("1")["components"]["schemas"]["Shown"]
    assert set(told) == set(schema["required"])
    assert set(told) <= set(schema["properties"]) == {f.name for f in msgspec.structs.fields(shown)}
