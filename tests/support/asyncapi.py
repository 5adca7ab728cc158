"""The parts of AsyncAPI 3.1 that a document of ours uses, written from the specification, and its rules on references.

https://www.asyncapi.com/docs/reference/specification/v3.1.0 and the bindings of AMQP 0.3.0 and SQS 0.2.0.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from jsonschema_rs import Draft7Validator

KEY = re.compile(r"[A-Za-z0-9._-]{1,80}", re.ASCII)
"""What keys of components may be; our other keys too, so that no reference needs an escape."""
EXTENSIONS: dict[str, Any] = {"^x-[A-Za-z0-9._-]+$": {}}
TEXT = {"type": "string"}
REFERENCE = {"type": "object", "required": ["$ref"], "properties": {"$ref": TEXT}, "additionalProperties": False}
EXPRESSION = {"type": "string", "pattern": r"^\$message\.(header|payload)#(/([^/~]|~[01])*)*$"}


def closed(properties: dict[str, Any], *required: str) -> dict[str, Any]:
    """An object without other fields than these and extensions."""
    return {
        "type": "object",
        "required": list(required),
        "properties": properties,
        "patternProperties": EXTENSIONS,
        "additionalProperties": False,
    }


def mapping(value: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "additionalProperties": value}


def listed(value: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": value}


TITLES = {"title": TEXT, "summary": TEXT, "description": TEXT}
LOCATED = closed({"description": TEXT, "location": EXPRESSION}, "location")
VARIABLE = closed({"enum": listed(TEXT), "default": TEXT, "description": TEXT, "examples": listed(TEXT)})
SCHEMA = {"$ref": "http://json-schema.org/draft-07/schema#"}
SERVER = closed(
    {
        **TITLES,
        "host": TEXT,
        "protocol": TEXT,
        "protocolVersion": TEXT,
        "pathname": TEXT,
        "variables": mapping(VARIABLE),
    },
    "host",
    "protocol",
)
FLAG = {"type": "boolean"}
NAME = {"type": "string", "minLength": 1, "maxLength": 255}
AMQP_QUEUE = closed({"name": NAME, "durable": FLAG, "exclusive": FLAG, "autoDelete": FLAG, "vhost": TEXT})
AMQP_CHANNEL = closed(
    {"is": {"const": "queue"}, "queue": AMQP_QUEUE, "bindingVersion": {"const": "0.3.0"}}, "is", "queue"
)
AMQP_OPERATION = closed(
    {
        "deliveryMode": {"enum": [1, 2]},
        "mandatory": FLAG,
        "ack": FLAG,
        "bindingVersion": {"const": "0.3.0"},
    }
)
SQS_QUEUE = closed(
    {
        "name": TEXT,
        "fifoQueue": FLAG,
        "deliveryDelay": {"type": "integer", "minimum": 0, "maximum": 900},
        "visibilityTimeout": {"type": "integer", "minimum": 0, "maximum": 43200},
        "messageRetentionPeriod": {"type": "integer", "minimum": 60, "maximum": 1209600},
    },
    "name",
    "fifoQueue",
)
SQS_CHANNEL = closed({"queue": SQS_QUEUE, "bindingVersion": {"const": "0.2.0"}}, "queue")
CHANNEL = closed(
    {
        **TITLES,
        "address": {"type": ["string", "null"]},
        "messages": mapping(REFERENCE),
        "servers": {**listed(REFERENCE), "uniqueItems": True},
        "bindings": closed({"amqp": AMQP_CHANNEL, "sqs": SQS_CHANNEL}),
    }
)
REPLY = closed({"address": LOCATED, "channel": REFERENCE, "messages": listed(REFERENCE)})
OPERATION = closed(
    {
        **TITLES,
        "action": {"enum": ["send", "receive"]},
        "channel": REFERENCE,
        "messages": listed(REFERENCE),
        "reply": REPLY,
        "bindings": closed({"amqp": AMQP_OPERATION}),
    },
    "action",
    "channel",
)
MESSAGE = closed(
    {
        **TITLES,
        "name": TEXT,
        "contentType": {"type": "string", "pattern": "^[a-z]+/"},
        "headers": SCHEMA,
        "payload": SCHEMA,
        "correlationId": LOCATED,
    }
)
DOCUMENT = {
    "$schema": "http://json-schema.org/draft-07/schema#",
    **closed(
        {
            "asyncapi": {"const": "3.1.0"},
            "info": closed({"title": TEXT, "version": TEXT, "description": TEXT}, "title", "version"),
            "defaultContentType": TEXT,
            "servers": mapping(SERVER),
            "channels": mapping(CHANNEL),
            "operations": mapping(OPERATION),
            "components": closed({"messages": mapping(MESSAGE), "schemas": mapping(SCHEMA)}),
        },
        "asyncapi",
        "info",
    ),
}
_VALIDATOR = Draft7Validator(DOCUMENT)


def problems(document: dict[str, Any]) -> list[str]:
    """Every breach of the specification in a document."""
    found = [
        f"{'/'.join(map(str, error.instance_path))}: {error.message}" for error in _VALIDATOR.iter_errors(document)
    ]
    found += [f"nothing is at {ref}" for ref in references(document) if find(document, ref) is None]
    components = document["components"]
    for group in (document["servers"], document["channels"], document["operations"], *components.values()):
        found += [f"{key!r} is no key" for key in group if not KEY.fullmatch(key)]
    for key, operation in document["operations"].items():
        found += [f"{key}: {problem}" for problem in _of_operation(document, operation)]
    return found


def references(value: Any) -> Iterator[str]:
    """Every reference in a document; a property that is called ``$ref`` is none."""
    if isinstance(value, dict):
        for name, inner in value.items():
            if name == "$ref" and isinstance(inner, str):
                yield inner
            else:
                yield from references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from references(inner)


def find(document: dict[str, Any], reference: str) -> Any:
    """The object that a reference names; None: there is none."""
    found: Any = document
    for part in reference.removeprefix("#/").split("/"):
        found = found.get(part) if isinstance(found, dict) else None
    return found


def payload_validator(document: dict[str, Any], message: str) -> Draft7Validator:
    """What a tool checks the payload of a message with."""
    payload = document["components"]["messages"][message]["payload"]
    return Draft7Validator(
        {**payload, "components": document["components"]}
        if "$ref" not in payload
        else {"allOf": [payload], "components": document["components"]}
    )


def _of_operation(document: dict[str, Any], operation: dict[str, Any]) -> Iterator[str]:
    """Messages of an operation and of its reply are some of their channel's."""
    for part in filter(None, (operation, operation.get("reply"))):
        channel = part["channel"]["$ref"]
        for message in part["messages"]:
            if not message["$ref"].startswith(f"{channel}/messages/"):
                yield f"{message['$ref']} is not of {channel}"
        if "reply" not in part and "address" in part and find(document, channel)["address"] is not None:
            yield f"{channel} has an address beside the reply's"
