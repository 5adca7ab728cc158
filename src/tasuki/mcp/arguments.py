"""Arguments: what each tool takes. Its JSON Schema is made from them, and calls are checked by them; no I/O."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta

from tasuki.desk.api.asked import NAMES
from tasuki.desk.api.operations.table import Operation
from tasuki.desk.reading.bodies import cut_plainly
from tasuki.observe.plain import escape

A = TypeVar("A", bound="Arguments")

MOST_BYTES = 64 * 1024
"""Of the arguments of one call, as JSON."""
_FEW = 20
"""Items of one answer, unless a model asks for more."""
_PLACE = re.compile(r"(.*) - at `\$\.?(.*)`", re.DOTALL)
_NAMED = re.compile(r"Object (missing required|contains unknown) field `(.*)`", re.DOTALL)
"""How msgspec says where a value is wrong, and which name is."""


class Arguments(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """None."""


def arguments_of(operation: Operation, *, without: str = "", **more: Any) -> type[Arguments]:
    """The arguments of an operation: the names in its path, its query and its body, and ``more`` of these types.

    ``without``: a name that is not among them.
    """
    fields: list[Any] = [*more.items()]
    fields += [(name, name_type(NAMES[name])) for name in operation.names if name != without]
    short = {}
    for part in filter(None, (operation.query, operation.body)):
        for field in msgspec.structs.fields(part):
            short[field.name] = field.encode_name
            default = _FEW if field.name == "limit" else field.default
            fields.append((field.name, field.type) if field.required else (field.name, field.type, default))
    made: type[Arguments] = msgspec.defstruct(  # type: ignore[assignment]
        operation.name, fields, bases=(Arguments,), kw_only=True, frozen=True, rename=short
    )
    return made


def name_type(description: str) -> Any:
    """The type of a name in a path."""
    return Annotated[str, Meta(min_length=1, max_length=500, description=description)]


def schema_of(arguments: type[Arguments]) -> dict[str, Any]:
    """The JSON Schema of arguments, in one piece."""
    (root,), parts = msgspec.json.schema_components([arguments], ref_template="#/$defs/{name}")
    whole = dict(parts[root["$ref"].rpartition("/")[2]])
    for word in ("title", "description"):
        whole.pop(word, None)
    return {**whole, "type": "object"}


def read(given: Mapping[str, Any] | None, arguments: type[A]) -> A:
    """What a client gives as arguments. Raises ValueError, which names the argument."""
    try:
        size = len(msgspec.json.encode(given or {}))
    except (ValueError, TypeError, RecursionError, UnicodeEncodeError):
        raise ValueError("the arguments are no JSON, or are nested too deeply") from None
    if size > MOST_BYTES:
        longest = max(given or {}, key=lambda name: len(str((given or {})[name])))
        raise ValueError(
            f"the arguments have {size} bytes, and may have {MOST_BYTES}; the longest is {_shown(str(longest))}"
        )
    try:
        return msgspec.convert(given or {}, arguments)
    except msgspec.ValidationError as error:
        raise ValueError(_told(str(error), arguments)) from None


def _told(text: str, arguments: type[Arguments]) -> str:
    found = _PLACE.fullmatch(text)
    problem, place = (found[1], found[2]) if found else (text, "")
    if known := _NAMED.fullmatch(problem):
        names = ", ".join(field.encode_name for field in msgspec.structs.fields(arguments)) or "none"
        what = "is missing" if known[1] == "missing required" else "is not known"
        return f"argument {_shown('.'.join(filter(None, (place, known[2]))))} {what}; the arguments are: {names}"
    if problem.startswith("Invalid enum value") and (values := _values_of(arguments, place)):
        problem += f"; it is one of {', '.join(values)}"
    return f"argument {_shown(place)}: {_shown(problem)}"


def _values_of(arguments: type[Arguments], name: str) -> list[str]:
    field = schema_of(arguments)["properties"].get(name, {})
    return [str(each) for each in field.get("enum", ())]


def _shown(text: str) -> str:
    return cut_plainly(escape(text), 200)
