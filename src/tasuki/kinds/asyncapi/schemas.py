"""JSON Schemas of the types of bodies, by msgspec or pydantic, for AsyncAPI: draft 7, in one place."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import PurePath
from typing import Any

import msgspec

from tasuki.handlers.body import uses_pydantic
from tasuki.kinds.asyncapi.keys import keys_of
from tasuki.observe.redact import is_secret_name, redact
from tasuki.queues.messages.body_type import type_name

_log = logging.getLogger(__name__)

Schema = dict[str, Any]

PLACE = "#/components/schemas/"
HEADERS = "TasukiHeaders"
"""The wanted key of the schema of headers, which no type takes from it."""
_BYTES: Schema = {"type": "string", "format": "binary"}
_OF_SCHEMA = (
    "items",
    "additionalItems",
    "additionalProperties",
    "not",
    "contains",
    "propertyNames",
    "if",
    "then",
    "else",
)
_OF_LIST = ("anyOf", "oneOf", "allOf", "prefixItems")
_OF_MAPPING = ("properties", "patternProperties")
_OF_AUTHOR = ("default", "examples", "description")
"""Texts of the user's code, in which a secret may stand."""
_Definition = tuple[str, str]
"""The library that made a definition, and its name there."""


class Schemas:
    """The schemas of a list of types; each class has one place, to which all others refer."""

    def __init__(self, types: Sequence[Any]) -> None:
        self._types = list(types)
        libraries = [_library(type_) for type_ in types]
        found: dict[int, tuple[str, Schema]] = {}
        definitions: dict[_Definition, Schema] = {}
        for library, make in _MAKERS.items():
            own = [index for index, chosen in enumerate(libraries) if chosen == library]
            schemas, defined = make([types[index] for index in own]) if own else ([], {})
            found.update({index: (library, schema) for index, schema in zip(own, schemas, strict=True)})
            definitions.update({(library, name): schema for name, schema in defined.items()})
        own_key = ("tasuki", HEADERS)
        keys = keys_of({own_key: HEADERS, **{definition: definition[1] for definition in definitions}})
        self.headers_key = keys.pop(own_key)
        self._schemas = {index: _Writer(library, keys).schema(schema) for index, (library, schema) in found.items()}
        self.components = {
            key: _Writer(definition[0], keys).schema(definitions[definition])
            for definition, key in sorted(keys.items(), key=lambda item: item[1])
        }
        """Key → schema, in the order of the keys."""

    def of(self, type_: Any) -> Schema | None:
        """The schema of one of the types; None: any value, or a type that no schema describes."""
        if type_ is bytes:
            return _BYTES
        return self._schemas.get(self._types.index(type_)) if type_ in self._types else None


def plain_default(name: str, value: Any) -> Any:
    """A default as JSON; UNSET: it must not be shown, or is nothing that JSON carries."""
    if is_secret_name(name):
        return msgspec.UNSET
    try:
        return _without_secrets(json.loads(json.dumps(msgspec.to_builtins(value, str_keys=True), allow_nan=False)))
    except (TypeError, ValueError, RecursionError, msgspec.MsgspecError):
        return msgspec.UNSET


def _library(type_: Any) -> str:
    """The library that describes a type; empty: neither does, as they have no schema of some types that they read.

    pydantic describes dataclasses too, also where msgspec fails because a default is a path.
    """
    problem = ""
    for library in () if type_ is Any or type_ is bytes else _MAKERS:
        if library == "msgspec" and uses_pydantic(type_):
            continue
        try:
            _MAKERS[library]([type_])
        except Exception as error:  # each library has its own errors for this, and hooks of a type raise any other
            problem = problem or str(error).partition("\n")[0]
        else:
            return library
    if problem:
        _log.warning("no JSON Schema describes %s: %s", type_name(type_), problem)
    return ""


def _of_msgspec(types: Sequence[Any]) -> tuple[list[Schema], dict[str, Schema]]:
    schemas, definitions = msgspec.json.schema_components(types, schema_hook=_custom, ref_template=PLACE + "{name}")
    return list(schemas), definitions


def _custom(type_: type) -> Schema:
    """A type with a converter, or a path; only the converter knows the plain form."""
    return {"type": "string", "format": "path"} if issubclass(type_, PurePath) else {"title": type_.__name__}


def _of_pydantic(types: Sequence[Any]) -> tuple[list[Schema], dict[str, Schema]]:
    import warnings

    from pydantic import TypeAdapter

    inputs = [(str(index), "validation", TypeAdapter(type_)) for index, type_ in enumerate(types)]
    with warnings.catch_warnings(action="ignore"):  # a default that JSON cannot carry is left out
        schemas, defined = TypeAdapter.json_schemas(inputs, ref_template=PLACE + "{model}")  # type: ignore[arg-type]
    return [schemas[str(index), "validation"] for index in range(len(types))], defined.get("$defs", {})


_MAKERS: Mapping[str, Callable[[Sequence[Any]], tuple[list[Schema], dict[str, Schema]]]] = {
    "msgspec": _of_msgspec,
    "pydantic": _of_pydantic,
}


class _Writer:
    """Rewrites schemas of draft 2020-12 as draft 7, with the keys of this document in their references."""

    def __init__(self, library: str, keys: Mapping[_Definition, str]) -> None:
        self._places = {PLACE + name: PLACE + key for (by, name), key in keys.items() if by == library}

    def schema(self, schema: Any, name: str = "") -> Any:
        """One schema; ``name``: the property that it is of."""
        if not isinstance(schema, dict):  # true, false
            return schema
        written = {}
        for word, value in schema.items():
            if (shown := self._value(word, value, name)) is not msgspec.UNSET:
                written[word] = shown
        if written.get("writeOnly"):
            written.pop("default", None)  # of a secret: stars
        return _with_items_of_draft_7(written)

    def _value(self, word: str, value: Any, name: str) -> Any:
        """The value of one word of a schema; UNSET: it is left out."""
        if word == "$ref":
            return self._places.get(value, value)
        if word == "discriminator" and isinstance(value, dict):  # as OpenAPI writes it
            return value.get("propertyName", "")
        if word in _OF_SCHEMA:
            return self.schema(value)
        if word in _OF_LIST:
            return [self.schema(each) for each in value]
        if word in _OF_MAPPING:
            return {inner: self.schema(each, inner) for inner, each in value.items()}
        if word in _OF_AUTHOR:
            return plain_default("" if word == "description" else name, value)
        return value


def _with_items_of_draft_7(schema: Schema) -> Schema:
    if "prefixItems" not in schema:
        return schema
    rest = {"additionalItems": schema["items"]} if "items" in schema else {}
    others = {word: value for word, value in schema.items() if word not in ("items", "prefixItems")}
    return {**others, "items": schema["prefixItems"], **rest}


def _without_secrets(value: Any) -> Any:
    """Plain data whose texts show no password of a URL, and whose fields of telling names are left out."""
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, list):
        return [_without_secrets(each) for each in value]
    if isinstance(value, dict):
        return {name: _without_secrets(each) for name, each in value.items() if not is_secret_name(str(name))}
    return value
