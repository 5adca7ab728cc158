"""Validation errors of the models → errors with the place, the expected and the given value, and the remedy."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from typing import Any, get_args

from pydantic import SecretStr, ValidationError
from pydantic_core import ErrorDetails

from tasuki.errors import InvalidEntryError
from tasuki.fields.types import Config
from tasuki.observe.redact import MASK, is_secret_name, redact
from tasuki.registry.entry import HIDDEN, Entry, KeyPath, describe, did_you_mean, placeholder_values
from tasuki.scalars import Substituted, read_scalar

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
_SPOKEN = {"yes": "true", "on": "true", "no": "false", "off": "false"}
_SHELL_PLACEHOLDER = re.compile(r"\$\w|\$\{\w+\}")
_ENTRY_FIELDS = ("name", "kind", "meta")
_WORD = re.compile(r"\w{4,}")


def problems_of(
    error: ValidationError,
    entry: Entry,
    model: type[Config],
    *,
    place: Callable[[KeyPath], KeyPath] = lambda path: path,
    what: str = "field",
) -> list[InvalidEntryError]:
    """One error per problem, and none about values that could not be read.

    ``place`` turns a path in the checked value into one in the entry.
    """
    problems = []
    for details in error.errors(include_url=False):
        if entry.is_unknown(place(details["loc"])):
            continue
        context = details.get("ctx", {})
        path = (*details["loc"], context["field"]) if details["type"] == "at_field" else details["loc"]
        problem, hint = _explain(details, ".".join(map(str, path)), model, what)
        position = entry.position(place(path))
        problems.append(InvalidEntryError(problem, position=position, entry=entry.id, hint=hint))
    return problems


def _explain(details: ErrorDetails, name: str, model: type[Config], what: str) -> tuple[str, str]:
    """The problem and the hint; neither shows a secret, nor any value in its place."""
    sort, value, context, path = details["type"], details["input"], details.get("ctx", {}), details["loc"]
    label = name if what == "field" else f"{what} {name}"
    if sort == "extra_forbidden":
        return _unknown(path, name, value, model, what)
    if sort == "missing":
        return f"the {what} {name!r} is missing", _meaning(path, model)
    told = "something else" if _is_secret(path, model) else describe(value)
    if sort == "literal_error":
        choices = context["expected"].replace("'", "").replace(" or ", ", ").split(", ")
        return f"{label} must be {context['expected']}, not {told}", did_you_mean(str(value), choices)
    if sort in _WANTED:
        return f"{label} must be {_WANTED[sort]}, not {told}", _remedy(sort, value, path, model)
    if sort == "string_too_short":
        return f"{label} is empty", ""
    if sort in _LIMITS:
        key, words = _LIMITS[sort]
        return f"{label} must be {words} {context[key]:.15g}, not {told}", ""
    if sort == "value_error":
        said = str(context["error"]) if _is_secret(path, model) else _without_placeholders(str(context["error"]), value)
        problem, _, hint = said.partition("; ")
        return f"{label}: {problem}", hint
    prefix = "" if sort in {"at_field", "exact"} else f"{label}: "
    return prefix + _without_placeholders(details["msg"], value), ""


def _meaning(path: KeyPath, model: type[Config]) -> str:
    """What a field is for, as the reference says it; empty for one that it does not describe."""
    from tasuki.kinds.schema import docstrings

    holder, name, said = _model_in(_annotation(path[:-1], model)), str(path[-1]), ""
    with suppress(OSError):  # the source of a model from elsewhere may not be there
        said = docstrings(holder).get(name, "").partition(". ")[0] if holder else ""
    return f"{name}: {said[0].lower()}{said[1:].rstrip('.')}" if said else ""


def _remedy(sort: str, value: object, path: KeyPath, model: type[Config]) -> str:
    """How to write the value that was probably meant. Never shows the value."""
    if sort == "model_type" and (inner := _model_in(_annotation(path, model))):
        return f"its fields are: {', '.join(inner.model_fields)}"
    if sort == "string_type" and isinstance(value, type):
        return f"write its name: {value.__name__!r}"
    if not isinstance(value, str) or isinstance(value, Substituted):
        return ""
    if sort == "list_type":
        return "put it in brackets: [one, two]"
    if _SHELL_PLACEHOLDER.match(value):
        return "a placeholder is written ${env:NAME}"
    if sort == "bool_type" and value.lower() in _SPOKEN:
        return f"write {_SPOKEN[value.lower()]}"
    is_quoted = isinstance(read_scalar(value), bool if sort == "bool_type" else int | float)
    return "write it without quotes" if is_quoted and sort != "string_type" else ""


def _without_placeholders(text: str, value: object) -> str:
    """A validator's message about a value, without the values of placeholders, nor single words of them."""
    for held in placeholder_values(value):
        text = text.replace(repr(held), HIDDEN)
        if any(word in text for word in _WORD.findall(held)):
            return f"{HIDDEN} is not accepted here"
    return text


def _unknown(path: KeyPath, name: str, value: object, model: type[Config], what: str) -> tuple[str, str]:
    """A secret may be a key too: a colon without a space behind it, or an item that has lost its name."""
    extra = _ENTRY_FIELDS if what == "field" and len(path) == 1 else ()
    holder = _model_in(_annotation(path[:-1], model))
    known = [*(holder.model_fields if holder else ()), *extra]
    own = "in code it is an argument of app.entry(name, kind, …)" if path[-1] in extra else ""
    near = own or (holder.other_names if holder else {}).get(str(path[-1])) or did_you_mean(str(path[-1]), known)
    hint = near or (f"known are: {', '.join(known)}" if known else "there are none")
    if _is_secret(path[:-1], model) and (value is None or len(path) > 1):
        return f"unknown {what} in {name.rpartition('.')[0] or 'the entry'}", hint
    return f"unknown {what} {_without_value(name)!r}", hint


def _without_value(name: str) -> str:
    """An unknown name; without the colon behind it, a secret has become a part of its name."""
    head, blank, _ = redact(name).partition(" ")
    return f"{head} {MASK}" if blank and is_secret_name(head) else redact(name)


def _annotation(path: KeyPath, model: type[Config]) -> Any:
    """The type of the value at a path, or of the nearest one around it that is known."""
    found: Any = model
    for step in path:
        inner = _model_in(found)
        if inner is not None and step in inner.model_fields:
            found = inner.model_fields[str(step)].annotation
    return found


def _is_secret(path: KeyPath, model: type[Config]) -> bool:
    """Whether a secret belongs at the path, or anywhere in the value there."""
    return _holds_secret(_annotation(path, model))


def _holds_secret(annotation: Any) -> bool:
    if isinstance(annotation, type) and issubclass(annotation, Config):
        return any(_holds_secret(field.annotation) for field in annotation.model_fields.values())
    return annotation is SecretStr or any(map(_holds_secret, get_args(annotation)))


def _model_in(annotation: Any) -> type[Config] | None:
    if isinstance(annotation, type) and issubclass(annotation, Config):
        return annotation
    return next(filter(None, map(_model_in, get_args(annotation))), None)
