"""Placeholders: ``${env:NAME}`` and ``${env:NAME|default}`` in values; ``$${`` is a plain ``${``."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tasuki.errors import ConfigError
from tasuki.ids import resolve_id
from tasuki.registry.entry import Entry, KeyPath
from tasuki.scalars import Substituted

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
