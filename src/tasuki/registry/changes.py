"""Changes: the differences between two versions of a registry, and the entries that they affect."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from tasuki.registry.registry import Registry


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
