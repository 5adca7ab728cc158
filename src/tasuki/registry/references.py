"""References between entries: finding them in plain data, verifying their targets, and finding circles."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from typing import Any

from tasuki.errors import ConfigError, MissingReferenceError
from tasuki.ids import resolve_id
from tasuki.registry.entry import Entry, KeyPath, Registry, shown

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
