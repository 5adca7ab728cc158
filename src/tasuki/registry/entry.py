"""Entries with the place of every key in the source, the registry that holds them by id, and their references."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any, TypeVar

from tasuki.errors import ConfigError, InvalidEntryError, MissingReferenceError, Position
from tasuki.ids import resolve_id
from tasuki.observe.redact import redact
from tasuki.scalars import Substituted

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

    What ``source: file://x`` names is read: then ``source`` is a :class:`tasuki.registry.loader.Source`.
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


HIDDEN = "the value of a placeholder"

_LONGEST = 60


def describe(value: object) -> str:
    """A value as its author knows it: ``the text 'no'``, ``the number 4``, ``a list``."""
    if isinstance(value, Substituted):
        return HIDDEN
    if isinstance(value, str):
        return f"the text {_short(redact(value))!r}"
    if value is None or isinstance(value, bool):
        return {None: "nothing", True: "true", False: "false"}[value]
    if isinstance(value, int | float):
        return f"the number {value}"
    if isinstance(value, type):
        return f"the class {value.__name__}"
    kinds = ((list, "a list"), (Mapping, "a mapping"))
    return next((said for kind, said in kinds if isinstance(value, kind)), f"an object of type {type(value).__name__}")


def shown(text: str, origin: object) -> str:
    """``text`` in quotes, or that it is hidden: ``origin`` is the value that it was made of."""
    return f"({HIDDEN})" if isinstance(origin, Substituted) else repr(text)


def placeholder_values(value: object) -> Iterator[Substituted]:
    """The values of all placeholders in a value, at any depth."""
    if isinstance(value, Substituted):
        yield value
    elif isinstance(value, Mapping | list):
        for item in value.values() if isinstance(value, Mapping) else value:
            yield from placeholder_values(item)


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else text[:_LONGEST] + "…"


@dataclass(frozen=True, slots=True)
class Registry:
    """An immutable set of entries, in the order of their declaration, and the folders that paths start at."""

    entries: Mapping[str, Entry] = field(default_factory=dict)
    root: Path = field(default_factory=Path.cwd)
    """The project's folder: where relative paths of values (``.tasuki/queue.db``) start."""
    source_root: Path | None = None
    """Where ``file:///x`` starts, and which no source may leave; None: the project's folder."""

    nameless: tuple[Position, ...] = ()
    """Places of entries in files that were skipped because they have no namespace."""

    def __iter__(self) -> Iterator[Entry]:
        """Entries in order of declaration."""
        return iter(self.entries.values())

    def get(self, id: str) -> Entry | None:
        """The entry, or None."""
        return self.entries.get(id)

    def of_kind(self, prefix: str) -> list[Entry]:
        """Entries whose kind is ``prefix`` or starts with it and a dot."""
        return [entry for entry in self if entry.kind == prefix or entry.kind.startswith(prefix + ".")]


@dataclass(frozen=True, slots=True)
class Changes:
    """Ids by kind of change; every id of either version is in exactly one of the five sets."""

    added: frozenset[str]
    removed: frozenset[str]
    changed: frozenset[str]
    affected: frozenset[str]
    """Equal in both versions, but something that they refer to, directly or not, is in one of the sets above."""
    unchanged: frozenset[str]

    def __bool__(self) -> bool:
        """Whether anything differs."""
        return bool(self.added or self.removed or self.changed)


def compare(old: Registry, new: Registry, edges: Mapping[str, Collection[str]]) -> Changes:
    """The difference from old to new; ``edges``: id → ids that it refers to, in the new version."""
    before, after = old.entries.keys(), new.entries.keys()
    added, removed = after - before, before - after
    changed = {id for id in before & after if old.entries[id] != new.entries[id]}
    touched = _dependents(added | removed | changed, edges)
    affected = (touched & before & after) - changed
    unchanged = (before & after) - changed - affected
    return Changes(*map(frozenset, (added, removed, changed, affected, unchanged)))


def _dependents(ids: Collection[str], edges: Mapping[str, Collection[str]]) -> set[str]:
    """Everything that refers to one of the ids, directly or not; the ids themselves only if they do too."""
    referrers: dict[str, list[str]] = {}
    for id, targets in edges.items():
        for target in targets:
            referrers.setdefault(target, []).append(id)
    found: set[str] = set()
    todo = list(ids)
    while todo:
        new = [id for id in referrers.get(todo.pop(), ()) if id not in found]
        found.update(new)
        todo.extend(new)
    return found


_MOST_SHOWN = 8
"""Ids in a hint."""


@dataclass(frozen=True, slots=True)
class Reference:
    """An id that an entry names at ``path``, and the kinds (or families of kinds) it may have; none: any."""

    path: KeyPath
    id: str
    kinds: tuple[str, ...] = ()
    written: str = field(default="", compare=False)
    """The value at the path, from which the id was made."""

    @property
    def shown(self) -> str:
        """The id for messages."""
        return shown(self.id, self.written)


def find_references(entry: Entry, fields: Mapping[str, tuple[str, ...]]) -> list[Reference]:
    """References of an entry. ``fields``: dotted path (``*``: each item) → allowed kinds; only texts are ids."""
    return [
        Reference(path, resolve_id(value, entry.namespace), kinds, value)
        for dotted, kinds in fields.items()
        for path, value in _walk(entry.data, dotted.split("."), ())
        if isinstance(value, str)
    ]


def _walk(value: Any, steps: Sequence[str], path: KeyPath) -> Iterator[tuple[KeyPath, Any]]:
    if not steps:
        yield path, value
    elif steps[0] == "*":
        items = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list) else ()
        for key, item in items:
            yield from _walk(item, steps[1:], (*path, key))
    elif isinstance(value, Mapping) and steps[0] in value:
        yield from _walk(value[steps[0]], steps[1:], (*path, steps[0]))


def find_named(name: str, ids: Iterable[str], what: str) -> str:
    """The id that a user means by an id, or by its name alone if no other id has that name.

    Raises:
        ConfigError: there is none, or several; ``what`` is the kind, such as "queue".
    """
    ids = list(ids)
    if name in ids:
        return name
    same = [id for id in ids if id.partition(":")[2] == name]
    if len(same) == 1:
        return same[0]
    if same:
        raise ConfigError(f"there are several {what}s called {name!r}: {', '.join(same)}", hint="say which")
    hint = did_you_mean(name, {id.partition(":")[2]: id for id in ids} | {id: id for id in ids})
    hint = hint or (f"there are: {', '.join(ids)}" if ids else f"the project has no {what}s")
    raise ConfigError(f"{what} {name!r} is not defined", hint=hint)


def points_well(reference: Reference, registry: Registry) -> bool:
    """Whether the target is defined and of an allowed kind."""
    target = registry.get(reference.id)
    return target is not None and is_of_kind(target.kind, reference.kinds)


def verify_references(entry: Entry, references: Iterable[Reference], registry: Registry) -> list[ConfigError]:
    """One error for each reference whose target is not defined or is of the wrong kind."""
    errors: list[ConfigError] = []
    for reference in references:
        if points_well(reference, registry):
            continue
        if target := registry.get(reference.id):
            fault, hint = f"which is a {target.kind}", f"name a {' or '.join(reference.kinds)}"
        else:
            fault, hint = "which is not defined", _nearest(entry, reference, registry)
        problem = f"{noun(entry.kind)} {entry.id!r} refers to {_noun_of(reference)} {reference.shown}, {fault}"
        errors.append(entry.error(problem, reference.path, hint, MissingReferenceError))
    return errors


def is_of_kind(kind: str, kinds: Collection[str]) -> bool:
    """Whether a kind is one of these or of their families; no kinds: any will do."""
    return not kinds or any(kind == wanted or kind.startswith(wanted + ".") for wanted in kinds)


def noun(kind: str) -> str:
    """The everyday word for a kind: ``queue.driver.memory`` → ``driver``, ``function.lua`` → ``function``."""
    family, _, rest = kind.partition(".")
    return rest.partition(".")[0] if family in {"queue", "env", "security"} and rest else family


def _noun_of(reference: Reference) -> str:
    return noun(reference.kinds[0]) if reference.kinds else "entry"


def _nearest(entry: Entry, reference: Reference, registry: Registry) -> str:
    """Never the entry itself: a queue that refers to itself is the next mistake."""
    ids = [other.id for other in registry if other.id != entry.id and is_of_kind(other.kind, reference.kinds)]
    name = reference.id.partition(":")[2]
    same_name = [id for id in ids if id.partition(":")[2] == name]
    if near := did_you_mean(reference.id, same_name or ids, cutoff=0.0 if same_name else 0.6):
        return near
    others = ", ".join([*ids[:_MOST_SHOWN], *(["…"] if len(ids) > _MOST_SHOWN else [])])
    return f"declare it, or name one of: {others}" if ids else "declare it"


def did_you_mean(word: str, candidates: Iterable[str], *, cutoff: float = 0.6) -> str:
    """``did you mean 'x'?`` with the nearest candidate; empty when none is near."""
    near = difflib.get_close_matches(word, list(candidates), 1, cutoff)
    return f"did you mean {near[0]!r}?" if near else ""


def find_cycles(edges: Mapping[str, Iterable[str]]) -> list[list[str]]:
    """Circles in a graph (id → ids it depends on), each once, from its first declared member on; no two share an id."""
    left = {id: list(targets) for id, targets in edges.items()}
    order = {id: number for number, id in enumerate(left)}
    found: list[list[str]] = []
    while True:
        try:
            TopologicalSorter(left).prepare()
        except CycleError as error:
            circle = list(reversed(error.args[1]))[:-1]
            start = min(range(len(circle)), key=lambda index: order[circle[index]])
            found.append(circle[start:] + circle[:start])
            left = {id: targets for id, targets in left.items() if id not in circle}
        else:
            return found
