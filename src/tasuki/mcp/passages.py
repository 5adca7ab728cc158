"""Passages: what the installed package knows of itself; the pages of the documentation are not in it."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping
from typing import Any

import tasuki
from tasuki.fields.kinds import DriverKind
from tasuki.fields.types import Config
from tasuki.kinds.kind import find_kind, kind_names
from tasuki.kinds.schema import docstrings, project_schema
from tasuki.mcp.searching import Passage

_OBJECT = re.compile(r"<[^<>]* at 0x[0-9a-f]+>")
"""A default that means that nothing is given."""


def of_kinds() -> Iterator[Passage]:
    """Every entry kind, and every field of one."""
    for name in kind_names():
        kind = find_kind(name)
        yield from _of_model(f"entry kind {name}", kind.model)
        if isinstance(kind, DriverKind):
            yield from _of_model(f"options of a queue on {name}", kind.queue_options)
            yield from _of_model(f"driver_options of a consumer on {name}", kind.consumer_options)
    for name, part in project_schema()["$defs"].items():
        if "properties" in part:
            yield from _of_part(name.removesuffix("Config"), part)


def _of_model(title: str, model: type[Config]) -> Iterator[Passage]:
    texts = docstrings(model)
    names = [field.alias or name for name, field in model.model_fields.items() if name in texts]
    yield Passage(title, f"{inspect.cleandoc(model.__doc__ or '')}\nFields: {', '.join(names) or 'none'}")
    for name, field in model.model_fields.items():
        if name in texts:
            default = "required" if field.is_required() else f"default {field.get_default(call_default_factory=True)!r}"
            yield Passage(f"{title}, field {field.alias or name}", f"{texts[name]} ({default})")


def _of_part(title: str, part: Mapping[str, Any]) -> Iterator[Passage]:
    fields = part["properties"].items()
    lines = [f"{name}: {field.get('description', '')}" for name, field in fields]
    yield Passage(f"part of entries, {title}", "\n".join([part.get("description", ""), *lines]))


def of_python() -> Iterator[Passage]:
    """The public names of the package, and the methods of public classes."""
    for name in tasuki.__all__:
        thing = getattr(tasuki, name)
        if not (inspect.isclass(thing) or callable(thing)):
            continue
        yield Passage(f"Python tasuki.{name}", _described(name, thing))
        if inspect.isclass(thing):
            for own, member in inspect.getmembers(thing):
                is_ours = str(getattr(member, "__module__", "")).startswith("tasuki")
                if is_ours and not own.startswith("_") and callable(member) and member.__doc__:
                    yield Passage(f"Python tasuki.{name}.{own}", _described(own, member))


def _described(name: str, thing: Any) -> str:
    try:
        head = f"{name}{_OBJECT.sub('…', str(inspect.signature(thing)))}"
    except (ValueError, TypeError):
        head = name
    return f"{head}\n{inspect.getdoc(thing) or ''}"
