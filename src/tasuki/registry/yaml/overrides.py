"""Overrides from the command line: ``namespace:entry:path.to.field=value`` replaces one value of one entry."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from tasuki.errors import ConfigError, InvalidEntryError, MissingReferenceError, Position
from tasuki.registry.entry import Entry, KeyPath, with_value
from tasuki.registry.references import did_you_mean
from tasuki.registry.yaml.document import MAX_DEPTH, read_document
from tasuki.scalars import read_scalar

ORIGIN = "-o "
"""Begins the position of an overridden value, in the place of the file."""
_LONGEST = 200
"""Characters of an override that its position shows."""
_FORM = "write it like app:mail:concurrency=4"


def is_overridden(entry: Entry, path: KeyPath) -> bool:
    """Whether the value at this path came from the command line."""
    position = entry.positions.get(path)
    return position is not None and position.file.startswith(ORIGIN)


def apply_overrides(
    entries: Mapping[str, Entry], overrides: Iterable[str]
) -> tuple[dict[str, Entry], list[ConfigError]]:
    """New entries with every override applied in order, and the errors of the others."""
    result, errors = dict(entries), []
    for override in overrides:
        try:
            changed = _apply(result, override)
            result[changed.id] = changed
        except ConfigError as error:
            errors.append(error)
    return result, errors


def _apply(entries: Mapping[str, Entry], override: str) -> Entry:
    place, equals, text = override.partition("=")
    namespace, _, rest = place.partition(":")
    name, _, dotted = rest.partition(":")
    # Never the value, which may be a secret, also where it was joined to the field in another way.
    shown = place if equals else f"{namespace}:{name}".strip(":")
    position = Position(ORIGIN + (shown if len(shown) <= _LONGEST else shown[:_LONGEST] + "…"))
    if not (equals and namespace and name and dotted and all(dotted.split("."))):
        raise InvalidEntryError("an override needs an entry, a field and a value", position=position, hint=_FORM)
    id = f"{namespace}:{name}"
    if id not in entries:
        hint = did_you_mean(id, entries)
        raise MissingReferenceError(f"entry {id!r} is not defined", position=position, entry=id, hint=hint)
    steps = tuple(dotted.split("."))
    try:
        if len(steps) > MAX_DEPTH:
            raise ValueError(f"its field is {len(steps)} levels deep, and values are nested at most {MAX_DEPTH} levels")
        return _replaced(entries[id], steps, _value(text), position)
    except ValueError as error:
        raise InvalidEntryError(str(error), position=position, entry=id) from None


def _value(text: str) -> Any:
    """A scalar as it would stand in YAML, or a quoted text, list or mapping in YAML's one-line form."""
    if not text.lstrip().startswith(("[", "{", '"', "'")):
        return read_scalar(text)
    document = read_document(text, "")
    if document.problems:
        raise ValueError(f"the value is not a YAML value: {document.problems[0].problem}")
    return document.value


def _replaced(entry: Entry, steps: tuple[str, ...], value: Any, position: Position) -> Entry:
    if steps[0] == "name":
        raise ValueError("a name cannot be overridden: others refer to it")
    if steps == ("kind",):
        if not isinstance(value, str):
            raise ValueError("a kind is text")
        return replace(entry, kind=value, positions={**entry.positions, ("kind",): position})
    fields = {**entry.data, "meta": entry.meta}
    path = _key_path(fields, steps)
    positions = {known: place for known, place in entry.positions.items() if known[: len(path)] != path}
    data = with_value(fields, path, value)
    meta = data.pop("meta", None) or {}
    if not isinstance(meta, Mapping):
        raise ValueError("meta is a mapping")
    return replace(entry, data=data, meta=meta, positions={**positions, path: position})


def _key_path(holder: Any, steps: tuple[str, ...]) -> KeyPath:
    """The steps as keys of the value they lead through: an index where that is a list."""
    path: list[str | int] = []
    for step in steps:
        if isinstance(holder, list):
            if not (step.isdecimal() and int(step) < len(holder)):
                raise ValueError(f"{step!r} is not an index of a list of {len(holder)}")
            path.append(int(step))
            holder = holder[int(step)]
        elif holder is None or isinstance(holder, Mapping):
            path.append(step)
            holder = holder.get(step) if holder else None
        else:
            raise ValueError(f"{step!r} would be a field of a value that has no fields")
    return tuple(path)
