"""The JSON Schema of a project file, for editors that complete and check YAML."""

from __future__ import annotations

import ast
import inspect
import json
import textwrap
from collections.abc import Mapping
from functools import cache
from itertools import pairwise
from typing import Any

from pydantic import SecretStr
from pydantic.json_schema import GenerateJsonSchema, models_json_schema
from pydantic_core.core_schema import ModelSchema

from tasuki.fields.types import Config, Kind
from tasuki.kinds.kind import find_kind, kind_names

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_NAME = {
    "type": ["string", "integer"],
    # Of ASCII letters, digits, _, - and ., and anything else: validators differ in what they know of other letters.
    "pattern": r"^[^\x00-/:-@\[-^`{-\x7f][^\x00-,/:-@\[-^`{-\x7f]*$",
    "maxLength": 255,
    "description": "Its name; its id is namespace:name.",
}
_META = {"type": "object", "description": "Notes for people and tools: comment, type, tags."}


class _Generator(GenerateJsonSchema):
    """Fields with their docstrings, and defaults as an author writes them, without the stars of secret values."""

    def model_schema(self, schema: ModelSchema) -> dict[str, Any]:
        made = super().model_schema(schema)
        model: type[Config] = schema["cls"]
        for field, text in docstrings(model).items():
            name = model.model_fields[field].alias or field
            if name in made.get("properties", {}):
                made["properties"][name].setdefault("description", text)
        return made

    def encode_default(self, dft: Any) -> Any:
        return super().encode_default(dft.get_secret_value() if isinstance(dft, SecretStr) else dft)


def project_schema() -> dict[str, Any]:
    """The schema (draft 2020-12): one branch per kind, chosen by the entry's ``kind``."""
    kinds = [find_kind(name) for name in kind_names()]
    refs, definitions = models_json_schema([(kind.model, "validation") for kind in kinds], schema_generator=_Generator)
    models = definitions.get("$defs", {})
    branches = [_entry(kind, models[_target(refs[kind.model, "validation"])]) for kind in kinds]
    entry = _one_of(kinds, branches)
    return {
        "$schema": _DIALECT,
        "title": "Tasuki project file",
        "type": "object",
        "required": ["namespace", "entries"],
        "additionalProperties": False,
        "properties": {
            "version": {"const": "1.0"},
            "namespace": {**_NAME, "type": "string", "description": "The first part of the ids of the entries."},
            "meta": _META,
            "entries": {"type": "array", "items": {"$ref": "#/$defs/entry"}},
        },
        "$defs": {"entry": entry, **_used(models, json.dumps([branches, models]))},
    }


@cache
def docstrings(model: type[Config]) -> Mapping[str, str]:
    """The docstring under each field in the source; a source is read once, because that is slow."""
    texts: dict[str, str] = {}
    for ancestor in reversed(model.__mro__):
        if not issubclass(ancestor, Config) or "__annotations__" not in vars(ancestor):  # adds no field
            continue
        (node,) = ast.parse(textwrap.dedent(inspect.getsource(ancestor))).body
        assert isinstance(node, ast.ClassDef)
        for field, text in pairwise(node.body):
            match field, text:
                case ast.AnnAssign(target=ast.Name(name)), ast.Expr(ast.Constant(str(written))):
                    texts[name] = inspect.cleandoc(written)
    return texts


def _used(models: dict[str, Any], text: str) -> dict[str, Any]:
    """The models that are referred to; the others are in their branch."""
    return {name: model for name, model in models.items() if f'"#/$defs/{name}"' in text}


def _target(reference: dict[str, Any]) -> str:
    return str(reference["$ref"]).rpartition("/")[2]


def _entry(kind: Kind, model: dict[str, Any]) -> dict[str, Any]:
    """The model's schema with what every entry has; the fields keep their descriptions and defaults."""
    return {
        "type": "object",
        "title": kind.name,
        "description": model.get("description", ""),
        "required": ["name", "kind", *model.get("required", ())],
        "additionalProperties": False,
        "properties": {"name": _NAME, "kind": {"const": kind.name}, "meta": _META, **model.get("properties", {})},
    }


def _one_of(kinds: list[Kind], branches: list[dict[str, Any]]) -> dict[str, Any]:
    """Only the branch of the entry's own kind judges it, so that an editor reports one error and not one per kind."""
    names = [kind.name for kind in kinds]
    chosen = [
        {"if": {"properties": {"kind": {"const": name}}, "required": ["kind"]}, "then": branch}
        for name, branch in zip(names, branches, strict=True)
    ]
    return {
        "type": "object",
        "required": ["name", "kind"],
        "properties": {"name": _NAME, "kind": {"enum": names}},
        "allOf": chosen,
    }
