"""What the models found wrong → errors that say where, what was wanted, what came, and what to write instead."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, get_args

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from tasuki.errors import InvalidEntryError
from tasuki.kinds.fields import Config
from tasuki.registry.entry import Entry, KeyPath
from tasuki.registry.references import did_you_mean
from tasuki.registry.scalars import Substituted

_WANTED = {
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "string_type": "text",
    "is_instance_of": "text",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "list_type": "a list",
}
_LIMITS = {
    "greater_than": ("gt", "more than"),
    "greater_than_equal": ("ge", "at least"),
    "less_than_equal": ("le", "at most"),
}
_ENTRY_FIELDS = ("name", "kind", "meta")
_SHOWN = 60
_HIDDEN = "the value of a placeholder"


def problems_of(
    error: ValidationError,
    entry: Entry,
    model: type[Config],
    *,
    place: Callable[[KeyPath], KeyPath] = lambda path: path,
    what: str = "field",
) -> list[InvalidEntryError]:
    """One error per problem. ``place`` turns a path in the checked value into one in the entry."""
    problems = []
    for details in error.errors(include_url=False):
        context = details.get("ctx", {})
        path = (*details["loc"], context["field"]) if details["type"] == "at_field" else details["loc"]
        problem, hint = _explain(details, ".".join(map(str, path)), model, what)
        position = entry.position(place(path))
        problems.append(InvalidEntryError(problem, position=position, entry=entry.id, hint=hint))
    return problems


def _explain(details: ErrorDetails, name: str, model: type[Config], what: str) -> tuple[str, str]:
    """The problem and the hint."""
    sort, value, context = details["type"], details["input"], details.get("ctx", {})
    label = name if what == "field" else f"{what} {name}"
    if sort == "extra_forbidden":
        extra = _ENTRY_FIELDS if what == "field" and len(details["loc"]) == 1 else ()
        return f"unknown {what} {name!r}", _near_field(details["loc"], model, extra)
    if sort == "missing":
        return f"the {what} {name!r} is missing", ""
    if sort == "literal_error":
        choices = context["expected"].replace("'", "").replace(" or ", ", ").split(", ")
        return f"{label}: {context['expected']} is wanted, not {describe(value)}", did_you_mean(str(value), choices)
    if sort in _WANTED:
        return f"{label}: {_WANTED[sort]} is wanted, not {describe(value)}", ""
    if sort == "string_too_short":
        return f"{label} is empty", ""
    if sort in _LIMITS:
        key, words = _LIMITS[sort]
        return f"{label} must be {words} {context[key]:g}, not {describe(value)}", ""
    if sort == "value_error":
        problem, _, hint = _without_secret(f"{label}: {context['error']}", value).partition("; ")
        return problem, hint
    prefix = "" if details["type"] in {"at_field", "exact"} else f"{label}: "
    return prefix + _without_secret(details["msg"], value), ""


def describe(value: object) -> str:
    """A value as an author knows it: ``the text 'no'``, ``the number 4``, ``a list``; never what a placeholder held."""
    if isinstance(value, Substituted):
        return _HIDDEN
    if isinstance(value, str):
        return f"the text {value if len(value) <= _SHOWN else value[:_SHOWN] + '…'!r}"
    if value is None or isinstance(value, bool):
        return {None: "nothing", True: "true", False: "false"}[value]
    if isinstance(value, int | float):
        return f"the number {value}"
    return "a list" if isinstance(value, list) else "a mapping" if isinstance(value, Mapping) else "something else"


def _without_secret(text: str, value: object) -> str:
    return text.replace(repr(value), _HIDDEN) if isinstance(value, Substituted) else text


def _near_field(path: KeyPath, model: type[Config], extra: tuple[str, ...]) -> str:
    inner: type[Config] | None = model
    for step in path[:-1]:
        fields = inner.model_fields if inner else {}
        inner = _model_in(fields[str(step)].annotation) if step in fields else inner
    known = [*(inner.model_fields if inner else ()), *extra]
    return did_you_mean(str(path[-1]), known) or (f"known are: {', '.join(known)}" if known else "there are none")


def _model_in(annotation: Any) -> type[Config] | None:
    if isinstance(annotation, type) and issubclass(annotation, Config):
        return annotation
    return next(filter(None, map(_model_in, get_args(annotation))), None)
