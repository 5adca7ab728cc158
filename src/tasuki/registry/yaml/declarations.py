"""The entries that one YAML document declares: ``version``, ``namespace``, ``entries``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tasuki.errors import ConfigError, InvalidEntryError, Position
from tasuki.registry.entry import NO_COLON, Entry, KeyPath
from tasuki.registry.references import did_you_mean
from tasuki.registry.shown import describe
from tasuki.registry.yaml.document import Document

_FIELDS = ("version", "namespace", "meta", "entries")
_VERSIONS = ("1.0", 1.0, None)
_MISSING = {"name": "add a line name: …", "kind": "add a line kind: …; tasuki schema lists every kind"}
_FIRST_LINE = re.compile(r"^([ \t]*)[^\s#%-]", re.MULTILINE)
_SIMILAR = 0.8
"""How similar to ``namespace`` a key must be to count as its misspelling; ``name`` and ``names`` are not."""


def may_declare(text: str) -> bool:
    """Whether a text may be one of our files: a quick check, so that foreign YAML (charts, manifests) is not judged."""
    first = _FIRST_LINE.search(text)
    if first is None:
        return False
    if text[first.end() - 1] == "{":
        return "namespace" in text
    return _has_key(text, first[1], "namespace")


def may_be_misspelt(text: str) -> bool:
    """Whether a text without ``namespace`` has ``entries``, and so may be one of our files after all."""
    first = _FIRST_LINE.search(text)
    return first is not None and _has_key(text, first[1], "entries")


def _has_key(text: str, indent: str, key: str) -> bool:
    return re.search(rf"""^{indent}\t*["']?{key}["']?\s*:""", text, re.MULTILINE) is not None


def misspelt_namespace(document: Document, file: Path) -> list[ConfigError]:
    """The error of a document that declares entries under a key that is nearly ``namespace``; none: it is not ours."""
    if not has_entries(document):
        return []
    fields = document.value
    near = (key for key in fields if key not in _FIELDS and did_you_mean(key, ["namespace"], cutoff=_SIMILAR))
    if (key := next(near, None)) is None:
        return []
    place = document.positions.get((key,), Position(str(file), 1, 1))
    hint = "did you mean 'namespace'?"
    return [InvalidEntryError(f"the file has entries and no namespace, but {key!r}", position=place, hint=hint)]


def has_entries(document: Document) -> bool:
    """Whether a document has ``entries`` as ours have them: mappings with a ``kind``."""
    fields = document.value
    entries = fields.get("entries") if isinstance(fields, dict) else None
    return isinstance(entries, list) and any(isinstance(item, dict) and "kind" in item for item in entries)


class Declarations:
    """Reads one document: ``entries`` that are whole enough to be checked further, ``errors`` about the rest.

    A document without ``namespace`` is not ours: it has neither.
    """

    def __init__(self, document: Document, file: Path) -> None:
        self.entries: list[Entry] = []
        self.errors: list[ConfigError] = []
        self._positions = document.positions
        self._start = Position(str(file), 1, 1)
        self._folder = file.parent
        fields = document.value
        if fields is None:
            self.errors += document.errors
        elif isinstance(fields, dict) and "namespace" in fields:
            self._read(fields)
            for path, error in document.duplicates:
                error.entry = _entry_id(fields, path)
                self.errors.append(error)

    def _read(self, fields: Mapping[str, Any]) -> None:
        for name in fields.keys() - set(_FIELDS):
            self._report((name,), f"unknown field {name!r}", hint=did_you_mean(name, _FIELDS))
        if fields.get("version") not in _VERSIONS:
            self._report(("version",), f"version {fields['version']!r} is not known", hint='write version: "1.0"')
        namespace, entries = fields["namespace"], fields.get("entries")
        if namespace is None:
            self._report(("namespace",), "the namespace is empty", hint="write one, like namespace: app")
        elif not isinstance(namespace, str):
            problem = f"a namespace is text, not {describe(namespace)}"
            self._report(("namespace",), problem, hint="put it in quotes")
        elif ":" in namespace:
            self._report(("namespace",), f"{namespace!r} is not a valid namespace", hint=NO_COLON)
        elif not isinstance(entries, list | None):
            hint = "begin each entry with a dash: - name: tasks"
            self._report(("entries",), "entries is a list of entries", hint=hint)
        else:
            places = self._places_by_entry()
            for index, item in enumerate(entries or ()):
                self._read_entry(namespace, item, index, places.get(index, {}))

    def _read_entry(self, namespace: str, item: Any, index: int, places: dict[KeyPath, Position]) -> None:
        path: KeyPath = ("entries", index)
        if not isinstance(item, dict):
            hint = "write it like {name: tasks, kind: queue.queue, …}"
            self._report(path, "an entry is a mapping of fields", hint=hint)
            return
        data = {key: value for key, value in item.items() if key not in {"name", "kind", "meta"}}
        name, kind, meta = item.get("name"), item.get("kind"), item.get("meta") or {}
        if type(name) is int:
            name = str(name)
        id = f"{namespace}:{name}" if isinstance(name, str) else ""
        before = len(self.errors)
        self._check_text(path, "name", name, id, data)
        self._check_text(path, "kind", kind, id, data)
        if not isinstance(meta, dict):
            self._report((*path, "meta"), f"meta is a mapping, not {describe(meta)}", entry=id)
        if len(self.errors) == before:
            self.entries.append(Entry(id, str(kind), data, meta, places, self._folder))

    def _check_text(self, path: KeyPath, key: str, value: Any, id: str, data: Mapping[str, Any]) -> None:
        if isinstance(value, str):
            return
        if value is not None:
            self._report((*path, key), f"{key} is text, not {describe(value)}", entry=id, hint="put it in quotes")
        elif near := next((field for field in data if did_you_mean(field, [key])), None):
            self._report(
                (*path, near), f"the entry has no {key}, but {near!r}", entry=id, hint=f"did you mean {key!r}?"
            )
        else:
            self._report((*path, key), f"the entry has no {key}", entry=id, hint=_MISSING[key])

    def _report(self, path: KeyPath, problem: str, *, entry: str = "", hint: str = "") -> None:
        while path and path not in self._positions:
            path = path[:-1]
        position = self._positions.get(path, self._start)
        self.errors.append(InvalidEntryError(problem, position=position, entry=entry, hint=hint))

    def _places_by_entry(self) -> dict[str | int, dict[KeyPath, Position]]:
        places: dict[str | int, dict[KeyPath, Position]] = {}
        for path, position in self._positions.items():
            if path[0] == "entries" and len(path) > 1:
                places.setdefault(path[1], {})[path[2:]] = position
        return places


def _entry_id(fields: Mapping[str, Any], path: KeyPath) -> str:
    """The id of the entry that a place in the document belongs to; empty if there is none."""
    entries = fields.get("entries")
    if path[0] != "entries" or len(path) < 3 or not isinstance(entries, list):
        return ""
    entry = entries[int(path[1])]
    name = entry.get("name") if isinstance(entry, dict) else None
    return f"{fields['namespace']}:{name}" if name is not None else ""
