"""Write docs/reference.md (entry kinds, from the models that check them) and docs/lua-modules.md (from the sources).

.venv/bin/python scripts/reference.py
"""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from tasuki.fields.types import DriverKind
from tasuki.handlers import lua
from tasuki.handlers.lua.modules import MODULES
from tasuki.kinds.kind import find_kind, kind_names
from tasuki.kinds.schema import docstrings
from tasuki.units import format_duration, format_size

DOCS = Path(__file__).parent.parent / "docs"
PAGE = DOCS / "reference.md"
LUA_PAGE = DOCS / "lua-modules.md"
_GUEST = Path(lua.__file__).parent / "guest" / "globals"

_PLAIN_NUMBERS = frozenset({"backoff_factor", "jitter"})

HEAD = """# Entry kinds

After this page you can write every kind of entry, with all its fields.

Every entry has `name` and `kind`, and may have `meta` (anything; `meta.type: test` makes a function a test). Ids are
`namespace:name`; a bare name belongs to the same namespace. Durations are texts like `500ms`, `30s`, `1h30m` or
numbers of seconds; sizes are texts like `256KiB` or numbers of bytes. `tasuki schema` prints the same as JSON Schema,
for editors. Drivers, stores and storages of settings also take [`lifecycle`](#lifecycle).

This page is made by `scripts/reference.py` from the models that check a project.
"""


LUA_HEAD = """# Lua modules

After this page you can call every function that a [Lua handler](how-to/lua.md) has. `a | nil, err` means: the
first result, or nil and an [error object](#errors) of the kind in brackets. `?` marks what may be left out.

This page is made by `scripts/reference.py` from the sources of the modules.
"""


def lua_page() -> str:
    """The page of the modules and globals."""
    parts = [LUA_HEAD, 'A script lists a module in `modules:` of its entry, and gets it with `require("name")`.']
    for name, module in sorted(MODULES.items()):
        parts += _lua_section(name, module.texts())
    parts.append("Globals, which need no declaration:")
    for name in ("channel", "coroutine", "errors", "globals", "payload"):
        parts += _lua_section(name, ((_GUEST / f"{name}.lua").read_text("utf-8"),))
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _lua_section(name: str, texts: tuple[str, ...]) -> list[str]:
    """The comment at the head of each file: paragraphs of signatures, which are indented, and of prose."""
    *others, own = [re.match(r"(?:--.*\n)*", text)[0].replace("-- ", "").replace("--", "") for text in texts]  # type: ignore[index]
    first, _, rest = own.partition("\n")
    about = first.partition(": ")[2]
    parts = [f"## `{name}`", about[0].upper() + about[1:]]
    for told in (rest, *(other.partition("\n")[2] for other in others)):
        kept = [part for part in re.split(r"\n\s*\n", told.strip("\n")) if part.strip()]
        for part in kept:
            own_names = re.compile(r"\s+(?:objects|host)[.:]")  # of the module's files among themselves
            lines = [line for line in part.split("\n") if not own_names.match(line)]
            if own_names.match(part):
                continue
            if part.startswith("  "):
                parts.append("```text\n" + inspect.cleandoc("\n" + "\n".join(lines)) + "\n```")
            elif told is rest:
                parts.append("\n".join(lines))
    return parts


def page() -> str:
    """The whole page of the entry kinds."""
    parts = [HEAD]
    nested: dict[str, type[BaseModel]] = {}
    for name in kind_names():
        kind = find_kind(name)
        parts.append(f"## `{name}`\n\n{_summary(kind.model)}\n\n{_table(kind.model, nested)}")
        if isinstance(kind, DriverKind):
            own = f"`options` of a queue, or `driver_options: {{{kind.short_name}: {{…}}}}`:"
            parts.append(f"{_summary(kind.queue_options)}\n\n{own}\n\n{_table(kind.queue_options, nested)}")
            if kind.consumer_options.model_fields:
                own = f"`driver_options: {{{kind.short_name}: {{…}}}}` of a consumer:"
                parts.append(f"{_summary(kind.consumer_options)}\n\n{own}\n\n{_table(kind.consumer_options, nested)}")
    done: set[str] = set()
    while todo := [name for name in nested if name not in done]:
        for name in todo:
            done.add(name)
            parts.append(f"## {name}\n\n{_summary(nested[name])}\n\n{_table(nested[name], nested)}")
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _summary(model: type[BaseModel]) -> str:
    return inspect.cleandoc(model.__doc__ or "")


def _table(model: type[BaseModel], nested: dict[str, type[BaseModel]]) -> str:
    rows = ["| field | default | meaning |", "|---|---|---|"]
    texts = docstrings(model)
    for name, field in model.model_fields.items():
        if name not in texts:  # known to the format, refused by this version
            continue
        inner = _inner(field.annotation)
        text = texts[name].replace("\n", " ").replace("|", "\\|")
        if inner is not None:
            title = inner.__name__.removesuffix("Config")
            nested.setdefault(title, inner)
            if name == "lifecycle" and title == "Lifecycle":  # of many kinds: the head of the page says so
                continue
            text += f" See [{title}](#{title.lower()})."
        rows.append(f"| `{field.alias or name}` | {_default(name, field)} | {text} |")
    return "\n".join(rows) if rows[2:] else "No field of its own."


def _inner(annotation: Any) -> type[BaseModel] | None:
    """The model inside an annotation such as ``DeadLetterConfig | None``, or a tuple of them."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if get_origin(annotation) in (Union, UnionType, tuple):
        return next((found for found in map(_inner, get_args(annotation)) if found), None)
    return None


def _default(name: str, field: FieldInfo) -> str:
    value = field.get_default(call_default_factory=True)
    if value is PydanticUndefined:
        return "required"
    if isinstance(value, SecretStr):  # a default is in the source: no secret
        value = value.get_secret_value()
    if value is None or isinstance(value, BaseModel) or value in ("", (), [], {}):
        return ""
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if name.endswith("_mode"):
        return f"`{value:04o}`"
    if isinstance(value, float) and name not in _PLAIN_NUMBERS:
        return f"`{format_duration(value)}`"
    if isinstance(value, int) and value >= 65_536:
        return f"`{format_size(value)}`"
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    LUA_PAGE.write_text(lua_page(), encoding="utf-8")
