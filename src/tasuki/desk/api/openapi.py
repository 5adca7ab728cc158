"""OpenAPI 3.1: the document of the API, made from the table of operations and their types."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from http import HTTPStatus
from typing import Any

import msgspec

from tasuki import __version__
from tasuki.desk.api.answers import ProblemDetails
from tasuki.desk.api.asked import NAMES
from tasuki.desk.api.operations.table import OPERATIONS, Operation
from tasuki.desk.api.problems import TYPE
from tasuki.moments import FORMAT as MOMENT

MOST_KEY = 200
"""Characters of an Idempotency-Key."""
_REF = "#/components/schemas/{name}"
_ALWAYS = (400, 401, 404, 405, 409, 421, 429, 500, 503)
_OF_ACTS = (403, 408, 413, 415, 422)
Schema = dict[str, Any]


@lru_cache(8)
def document(root: str = "") -> Schema:
    """The document; ``root``: the path where the desk is mounted."""
    queries = {each.query for each in OPERATIONS}
    bodies = {each.body for each in OPERATIONS if each.body is not None}
    types: list[type] = [*{each.answer for each in OPERATIONS}, *bodies, *queries, ProblemDetails]
    types.sort(key=lambda each: each.__name__)
    _, schemas = msgspec.json.schema_components(types, ref_template=_REF)
    parameters = {query: _parameters(schemas.pop(query.__name__)) for query in queries}
    paths: dict[str, Schema] = {}
    for each in OPERATIONS:
        path = "/".join(("/api/v1", *each.path))
        paths.setdefault(path, {})[each.method.lower()] = _operation(each, parameters[each.query])
    made: Schema = {
        "openapi": "3.1.0",
        "info": {
            "title": "Tasuki",
            "version": __version__,
            "description": "Queues, messages, workers and schedules of one project, and acts on them.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": root or "/"}],
        "security": [{"token": []}, {"session": []}],
        "paths": paths,
        "components": {
            "schemas": dict(sorted(schemas.items())),
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer"},
                "session": {"type": "apiKey", "in": "cookie", "name": "tasuki"},
            },
        },
    }
    plain: Schema = msgspec.json.decode(msgspec.json.encode(made))  # a default may be a tuple
    _date(plain)
    return plain


def _date(schema: Any) -> None:
    """Moments are numbers for msgspec, and dates in the answers."""
    if isinstance(schema, dict):
        if schema.get("format") == MOMENT:
            schema["type"] = "string"
        for each in schema.values():
            _date(each)
    elif isinstance(schema, list):
        for each in schema:
            _date(each)


def _operation(operation: Operation, query: list[Schema]) -> Schema:
    statuses = sorted({*_ALWAYS, *(_OF_ACTS if operation.method != "GET" else (403,) if operation.right else ())})
    found: Schema = {
        "operationId": operation.name,
        "summary": operation.text.partition("\n")[0],
        "tags": [operation.path[0]],
        "parameters": [_name(name) for name in operation.names] + query,
        "responses": {"200": _response("The answer.", operation.answer.__name__)}
        | {str(status): _problem(status) for status in statuses},
    }
    if operation.right:
        found["description"] = f"Right: `queue.admin.{operation.right}`."
    if operation.name == "health":
        found["responses"]["503"]["content"]["application/json"] = {"schema": _ref("HealthAnswer")}
    if operation.method != "GET":
        found["parameters"] = [*found["parameters"], _KEY]
    if operation.body is not None:
        found["requestBody"] = {
            "required": any(field.required for field in msgspec.structs.fields(operation.body)),
            "content": {"application/json": {"schema": _ref(operation.body.__name__)}},
        }
    return found


_KEY: Mapping[str, Any] = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "A second request with this key gets the answer of the first, for a day.",
    "schema": {"type": "string", "minLength": 1, "maxLength": MOST_KEY, "pattern": "^[ -~]*$"},
}


def _name(name: str) -> Schema:
    schema = {"type": "string", "minLength": 1, "maxLength": 500}
    return {"name": name, "in": "path", "required": True, "description": NAMES[name], "schema": schema}


def _parameters(schema: Schema) -> list[Schema]:
    found = []
    for name, each in schema["properties"].items():
        told = {key: value for key, value in each.items() if key != "description"}
        parameter: Schema = {"name": name, "in": "query", "schema": told}
        if name in schema.get("required", ()):
            parameter["required"] = True
        if "description" in each:
            parameter["description"] = each["description"]
        found.append(parameter)
    return found


def _response(text: str, name: str) -> Schema:
    return {"description": text, "content": {"application/json": {"schema": _ref(name)}}}


def _problem(status: int) -> Schema:
    return {"description": HTTPStatus(status).phrase, "content": {TYPE: {"schema": _ref("ProblemDetails")}}}


def _ref(name: str) -> Schema:
    return {"$ref": _REF.format(name=name)}
