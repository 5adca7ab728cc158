"""Values from outside: placeholders ``${env:NAME}``, Wippy's ``…_env`` fields, and overrides of the command line.

``$${`` is a plain ``${``; an override ``namespace:entry:path.to.field=value`` replaces one value of one entry.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from tasuki.errors import ConfigError, InvalidEntryError, MissingReferenceError, Position
from tasuki.ids import resolve_id
from tasuki.registry.entry import Entry, KeyPath, did_you_mean, shown, value_at, with_value
from tasuki.registry.yaml import MAX_DEPTH, read_document
from tasuki.scalars import Substituted, read_scalar

_AWS: tuple[KeyPath, ...] = (("region",), ("access_key_id",), ("secret_access_key",))

_TLS: tuple[KeyPath, ...] = (("tls", "cert"), ("tls", "key"), ("tls", "ca"))


def filled(
    kind: str,
    namespace: str,
    data: Mapping[str, Any],
    variables: Variables,
    report: Callable[[KeyPath, str, str], None],
) -> Mapping[str, Any]:
    """The fields of an entry, with the value of each variable in the place of the field that names it.

    A variable without a value leaves the plain field as it is, given or not. One that is neither declared nor in the
    process environment is reported (path, problem, hint), unless the plain field is given.
    """
    fields = _AWS if kind == "config.aws" else _TLS if kind.startswith("queue.driver.") else ()
    for path in fields:
        origin = (*path[:-1], f"{path[-1]}_env")
        name = value_at(data, origin)
        if not isinstance(name, str) or not name:
            continue  # the model of the entry reports any other value
        try:
            value = variables.lookup(name, namespace)
        except ValueError as error:
            report(origin, str(error), "")
            continue
        if value is not None:
            data = with_value(data, path, Substituted(value))
        elif value_at(data, path) is None and not variables.is_declared(name, namespace):
            report(origin, f"the variable {shown(name, name)} is not set", f"set the variable, or give {path[-1]}")
    return data


_PLACEHOLDER = re.compile(r"\$\$\{|\$\{env:(?:([^}|]*)(\|[^}]*)?\})?")

_HOW_TO_SET = "set the variable in the environment (no .env file is read), or give a default: ${env:NAME|default}"

Lookup = Callable[[str], str | None]


@dataclass(frozen=True, slots=True)
class Variables:
    """Where the values of placeholders come from: the process environment, and the entries of ``env.variable``."""

    environ: Mapping[str, str]
    entries: Mapping[str, Entry]

    def lookup(self, name: str, namespace: str) -> str | None:
        """The value of an environment variable, of a variable's public name, or of its entry id; empty is unset.

        Raises:
            ValueError: it exists, but where placeholders cannot read it.
        """
        if value := self.environ.get(name):
            return value
        variable = self._variable(name, namespace)
        return self._value(variable) if variable else None

    def is_declared(self, name: str, namespace: str) -> bool:
        """Whether an entry of ``env.variable`` has this public name or id, with a value or without."""
        return self._variable(name, namespace) is not None

    def _variable(self, name: str, namespace: str) -> Entry | None:
        return self._public(name) or self._entry(resolve_id(name, namespace))

    def _public(self, name: str) -> Entry | None:
        variables = (entry for entry in self.entries.values() if entry.kind == "env.variable")
        return next((entry for entry in variables if entry.data.get("variable") == name), None)

    def _entry(self, id: str) -> Entry | None:
        entry = self.entries.get(id)
        return entry if entry and entry.kind == "env.variable" else None

    def _value(self, variable: Entry) -> str | None:
        data = variable.data
        storage = self.entries.get(resolve_id(str(data.get("storage") or ""), variable.namespace))
        key = str(data.get("variable") or variable.name)
        default = data.get("default")
        stored = self._stored(storage, key, variable, frozenset()) if storage else self.environ.get(key)
        return stored or _text(default) or None

    def _stored(self, storage: Entry, key: str, variable: Entry, passed: frozenset[str]) -> str | None:
        """The value in a storage, as far as it is known before anything runs; ``passed``: routers on the way."""
        match storage.kind:
            case "env.storage.file":
                raise ValueError(f"variable {variable.id!r} is stored in a file, which placeholders cannot read")
            case "env.storage.os":
                return self.environ.get(key)
            case "env.storage.static":
                values = storage.data.get("values")
                return _text(values.get(key)) if isinstance(values, Mapping) else None
            case "env.storage.router" if storage.id not in passed:
                ids = storage.data.get("storages")
                behind = [resolve_id(str(id), storage.namespace) for id in (ids if isinstance(ids, list) else ())]
                found = (self.entries[id] for id in behind if id in self.entries)
                values = (self._stored(each, key, variable, passed | {storage.id}) for each in found)
                return next(filter(None, values), None)
        return None


def _text(value: object) -> str | None:
    """A value of an entry as its original text."""
    return None if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def resolve_entry(entry: Entry, variables: Variables) -> tuple[Mapping[str, Any], dict[KeyPath, ConfigError]]:
    """The entry's data with placeholders replaced by :class:`Substituted` text, and the errors by path."""
    errors: dict[KeyPath, ConfigError] = {}

    def report(path: KeyPath, problem: str) -> None:
        hint = _HOW_TO_SET if "is not set" in problem else ""
        errors[path] = entry.error(problem, path, hint)

    data = _walk(entry.data, (), lambda name: variables.lookup(name, entry.namespace), report)
    return data, errors


def _walk(value: Any, path: KeyPath, lookup: Lookup, report: Callable[[KeyPath, str], None]) -> Any:
    if isinstance(value, str):
        try:
            return substitute(value, lookup) if "${" in value else value
        except ValueError as error:
            report(path, str(error))
            return value
    if isinstance(value, dict):
        return {key: _walk(item, (*path, key), lookup, report) for key, item in value.items()}
    if isinstance(value, list):
        return [_walk(item, (*path, index), lookup, report) for index, item in enumerate(value)]
    return value


def substitute(text: str, lookup: Lookup) -> str:
    """The text with its placeholders replaced, once: a value is never searched for further placeholders.

    Raises:
        ValueError: a variable without value or default, a nested or an unfinished placeholder.
    """
    found = False

    def replace(match: re.Match[str]) -> str:
        nonlocal found
        if match[0] == "$${":
            return "${"
        found = True
        return _replacement(match, lookup)

    result = _PLACEHOLDER.sub(replace, text)
    return Substituted(result) if found else result


def _replacement(match: re.Match[str], lookup: Lookup) -> str:
    name, default = match[1], match[2]
    if name is None:
        raise ValueError("the placeholder '${env:' has no closing brace")
    if not name.strip():
        raise ValueError("the placeholder '${env:}' names no variable")
    value = lookup(name)
    if value is None and default is None:
        raise ValueError(f"the variable {name!r} is not set")
    result = default[1:] if value is None else value
    if "${env:" in result:
        raise ValueError(f"the value of {name!r} is itself a placeholder, and placeholders are not nested")
    return result


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
