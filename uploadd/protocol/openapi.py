"""``/-/openapi.json``: what can be asked under ``/api``, from one table (OpenAPI 3.1).

``docs/api.md`` has its tables from here, and a test holds the paths against ``routes.py``.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from uploadd.protocol import api
from uploadd.protocol.fields import Field
from uploadd.protocol.operations import OPERATIONS as OPERATIONS
from uploadd.protocol.operations import REQUIRED, TEXT, Answer, Operation, Param, Schema

_SCHEMAS: Final = "#/components/schemas/"
_STORED: Final[Schema] = {
    "type": "object",
    "required": ["files", "url", "id", "name", "length", "digest"],
    "properties": {
        "url": TEXT,
        "id": TEXT,
        "name": {"type": ["string", "null"]},
        "length": {"type": "integer", "minimum": 0},
        "digest": {"type": "object", "properties": {"sha-256": TEXT}},
        "files": {"type": "array", "items": {"type": "object"}},
    },
}
_PROBLEM: Final[Schema] = {
    "type": "object",
    "required": ["type", "title", "status", "detail", "code", "request_id"],
    "properties": {
        "status": {"type": "integer"},
        **dict.fromkeys(("type", "title", "detail", "code", "hint", "request_id"), TEXT),
    },
}
_BODIES: Final[dict[str, Schema]] = {
    "multipart/form-data": {
        "type": "object",
        "required": ["file"],
        "properties": {"file": {"type": "string", "format": "binary"}},
        "propertyNames": {"minLength": 1},
    },
}


def document(version: str) -> dict[str, Any]:
    """The whole document."""
    kinds = (api.Shown, api.Listed, api.Notices, api.Read, api.Linking, api.Link)
    _, schemas = msgspec.json.schema_components(kinds, ref_template=_SCHEMAS + "{name}")
    paths: dict[str, Any] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _described(operation)
    return {
        "openapi": "3.1.0",
        "info": {"title": "uploadd", "version": version},
        "paths": paths,
        "components": {"schemas": {**schemas, "Stored": _STORED, "Problem": _PROBLEM}},
    }


def page(version: str) -> tuple[int, list[Field], bytes]:
    """Status, fields and body of the document."""
    return api.told(document(version))


def _described(operation: Operation) -> dict[str, Any]:
    problem = {"schema": {"$ref": f"{_SCHEMAS}Problem"}}
    told: dict[str, Any] = {
        "operationId": operation.id,
        "summary": operation.what,
        "parameters": [_param(operation, param) for param in operation.params],
        "responses": {
            **{str(answer.status): _answer(answer) for answer in operation.answers},
            "default": {
                "description": "why not: RFC 9457",
                "content": {"application/problem+json": problem},
            },
        },
    }
    if operation.body:
        named = {"$ref": f"{_SCHEMAS}{operation.document}"}
        schema = named if operation.document else _BODIES[operation.body]
        content = {operation.body: {"schema": schema}}
        told["requestBody"] = {"required": True, "content": content}
    return told


def _param(operation: Operation, param: Param) -> dict[str, Any]:
    required = param.place == "path" or (operation.id, param.name) in REQUIRED
    commas = {"explode": False} if param.schema.get("type") == "array" else {}
    return {
        "name": param.name,
        "in": param.place,
        "required": required,
        "description": param.what,
        "schema": param.schema,
        **commas,
    }


def _answer(answer: Answer) -> dict[str, Any]:
    told: dict[str, Any] = {"description": answer.what}
    if answer.schema is not None:
        schema = {"$ref": f"{_SCHEMAS}{answer.schema}"}
        told["content"] = {answer.media_type: {"schema": schema}}
    elif answer.status == 200:
        told["content"] = {answer.media_type: {"schema": TEXT}}
    return told
