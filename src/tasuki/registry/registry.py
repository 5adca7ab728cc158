"""Registry: all entries of a project by id."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tasuki.errors import Position
from tasuki.registry.entry import Entry


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
