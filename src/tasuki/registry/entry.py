"""Entry: one item of the registry, with the place in the source of every key."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from tasuki.errors import ConfigError, InvalidEntryError, Position

KeyPath = tuple[str | int, ...]
INJECT = "inject"
"""In the meta of a function: the types that its author says are provided."""
NO_NAME = "handler"
"""The name of an entry for a function that has none of its own."""
NO_COLON = "a colon ends the namespace in an id: write it with dots, like shop.mails"
"""The hint for a namespace that has one."""
E = TypeVar("E", bound=ConfigError)


@dataclass(frozen=True, slots=True)
class Entry:
    """What an author declared: an id, a kind and plain data (text, numbers, booleans, None, lists, dicts)."""

    id: str
    kind: str
    data: Mapping[str, Any]
    """Every field but ``name``, ``kind`` and ``meta``; placeholders resolved, references not.

    What ``source: file://x`` names is read: then ``source`` is a :class:`tasuki.registry.source.Source`.
    """
    meta: Mapping[str, Any] = field(default_factory=dict)
    positions: Mapping[KeyPath, Position] = field(default_factory=dict, compare=False)
    """Where each key stands, by its path in the entry; ``()`` is the entry itself."""
    folder: Path | None = field(default=None, compare=False)
    """Folder of the file that declares it: where ``file://x`` starts."""
    target: Any = None
    """The Python object behind an entry declared in code (a handler function), else None."""
    unknown: frozenset[KeyPath] = field(default=frozenset(), compare=False)
    """Where values stand that could not be read, which is reported: a placeholder that is not set, a missing file."""

    @property
    def namespace(self) -> str:
        """The part of the id before the first colon."""
        return self.id.partition(":")[0]

    @property
    def name(self) -> str:
        """The part of the id after the first colon."""
        return self.id.partition(":")[2]

    def is_unknown(self, path: KeyPath) -> bool:
        """Whether the value at the path could not be read, or one within it or around it."""
        return any(path[: len(each)] == each or each[: len(path)] == path for each in self.unknown)

    def position(self, path: KeyPath = ()) -> Position | None:
        """The place of a key, or of the nearest key around it that has one."""
        while path and path not in self.positions:
            path = path[:-1]
        return self.positions.get(path)

    def error(self, problem: str, path: KeyPath = (), hint: str = "", kind: type[E] = InvalidEntryError) -> E:  # type: ignore[assignment]
        """An error of this entry, at the place of a key."""
        return kind(problem, position=self.position(path), entry=self.id, hint=hint)


def value_at(data: object, path: KeyPath) -> Any:
    """What stands at a path of nested mappings; None where the path ends before."""
    for step in path:
        data = data.get(step) if isinstance(data, Mapping) else None
    return data


def with_value(holder: Any, path: KeyPath, value: Any) -> Any:
    """A copy of the holder with the value at the path; None takes a field away; missing mappings are made."""
    step, rest = path[0], path[1:]
    if isinstance(holder, list):
        index = int(step)
        return [*holder[:index], with_value(holder[index], rest, value) if rest else value, *holder[index + 1 :]]
    fields = dict(holder or {})
    fields[step] = with_value(fields.get(step), rest, value) if rest else value
    return {key: item for key, item in fields.items() if key != step or item is not None}
