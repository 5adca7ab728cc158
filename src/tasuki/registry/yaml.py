"""YAML documents as entries, with the place of every key; hostile documents end early and cheaply."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tasuki.errors import ConfigError, InvalidEntryError, Position
from tasuki.registry.entry import NO_COLON, Entry, KeyPath, describe, did_you_mean
from tasuki.scalars import read_scalar

MAX_DEPTH = 50

MAX_NODES = 250_000

MAX_EXPANDED = 10_000
"""Most nodes that aliases may add: enough for shared settings, too few for a bomb."""


_TEXT_TAGS = frozenset({"!", "tag:yaml.org,2002:str"})

# Aliases, tags and keys are not shown: one of them may be a secret that was written without quotes.
_TAG = "a tag is not allowed, only plain data is; a text that begins with ! needs quotes"

_ALIAS = "this alias has no anchor before it; a text that begins with * needs quotes"

_TAB_HINT = "a tab indents this line; indent with spaces"


@dataclass(slots=True)
class Document:
    """A parsed text: ``value`` is None if it could not be read, and then ``errors`` has the causes.

    Values reached through aliases are shared: treat them as immutable. They have no positions.
    """

    value: Any = None
    positions: dict[KeyPath, Position] = field(default_factory=dict)
    errors: list[ConfigError] = field(default_factory=list)
    duplicates: list[tuple[KeyPath, ConfigError]] = field(default_factory=list)
    """Keys that appear again; the first one counts."""

    @property
    def problems(self) -> list[ConfigError]:
        """All mistakes in the text."""
        return self.errors + [error for _, error in self.duplicates]


def read_document(text: str, file: str) -> Document:
    """The one document in a text; never raises."""
    builder = _Builder(file)
    document = builder.document
    if "\0" in text:
        before = text[: text.index("\0")]
        place = Position(file, before.count("\n") + 1, len(before) - before.rfind("\n"))
        document.errors.append(ConfigError("a NUL character is not allowed in YAML", position=place))
        return document
    try:
        document.value = builder.build(yaml.parse(text, Loader=yaml.CSafeLoader))
    except ConfigError as error:
        document.errors.append(error)
    except UnicodeEncodeError:
        document.errors.append(ConfigError("the text is not valid Unicode", position=Position(file)))
    except yaml.YAMLError as error:
        document.errors.append(_syntax_error(error, text, file))
    return document


def _syntax_error(error: yaml.YAMLError, text: str, file: str) -> ConfigError:
    mark = getattr(error, "problem_mark", None)
    if mark is None:
        return ConfigError("a control character is not allowed in YAML", position=Position(file))
    lines = text.splitlines()
    line = lines[mark.line] if mark.line < len(lines) else ""
    indent = line[: len(line) - len(line.lstrip())]
    problem = f"this is not YAML: {getattr(error, 'problem', error)}"
    begun = getattr(error, "context_mark", None)
    if begun is not None and begun.line < mark.line:  # a quote or bracket that nothing closes is noticed far below
        problem += f" ({getattr(error, 'context', 'something')}, which begins in line {begun.line + 1})"
    position = Position(file, mark.line + 1, mark.column + 1)
    return ConfigError(problem, position=position, hint=_TAB_HINT if "\t" in indent else "")


class _Builder:
    """Turns parser events into values, one call per node; counts nodes before it builds them."""

    def __init__(self, file: str) -> None:
        self.document = Document()
        self._file = file
        self._events: Iterator[Any] = iter(())
        self._anchors: dict[str, tuple[Any, int] | None] = {}  # None: still being read
        self._nodes = 0
        self._expanded = 0

    def build(self, events: Iterator[Any]) -> Any:
        self._events = events
        value = None
        for number, event in enumerate(e for e in events if isinstance(e, yaml.DocumentStartEvent)):
            if number:
                raise self._error("a file holds one document; this is a second one", event)
            value = self._node(next(events), (), 0)
        return value

    def _node(self, event: Any, path: KeyPath, depth: int) -> Any:
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event)
        self._nodes += 1
        if self._nodes > MAX_NODES:
            raise self._error(f"the file has more than {MAX_NODES} values", event)
        if event.anchor is None:
            return self._value(event, path, depth)
        self._anchors[event.anchor] = None
        before = self._nodes + self._expanded
        value = self._value(event, path, depth)
        self._anchors[event.anchor] = value, self._nodes + self._expanded - before + 1
        return value

    def _value(self, event: Any, path: KeyPath, depth: int) -> Any:
        if isinstance(event, yaml.ScalarEvent):
            return self._scalar(event)
        if event.tag is not None:
            raise self._error(_TAG, event)
        if depth >= MAX_DEPTH:
            raise self._error(f"values are nested deeper than {MAX_DEPTH} levels", event)
        if isinstance(event, yaml.SequenceStartEvent):
            return self._sequence(path, depth + 1)
        return self._mapping(path, depth + 1)

    def _scalar(self, event: Any) -> Any:
        if event.tag is None:
            return read_scalar(event.value) if event.implicit[0] else event.value
        if event.tag in _TEXT_TAGS:
            return event.value
        raise self._error(_TAG, event)

    def _sequence(self, path: KeyPath, depth: int) -> list[Any]:
        items: list[Any] = []
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            place = (*path, len(items))
            self._place(place, event)
            items.append(self._node(event, place, depth))
        return items

    def _mapping(self, path: KeyPath, depth: int) -> dict[str, Any]:
        result: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            if not isinstance(event, yaml.ScalarEvent):
                raise self._error("a key must be text", event)
            key = event.value
            if key == "<<" and event.implicit[0]:
                merged = {**self._merge(event, path, depth), **merged}
                continue
            place = (*path, key)
            if key in result:
                line = self.document.positions[place].line
                again = self._error(f"this key is given twice: line {line} has it already", event)
                self.document.duplicates.append((place, again))
                self._node(next(self._events), place, depth)
                continue
            self._place(place, event)
            result[key] = self._node(next(self._events), place, depth)
        return {**merged, **result} if merged else result

    def _merge(self, key: Any, path: KeyPath, depth: int) -> dict[str, Any]:
        value = self._node(next(self._events), (*path, "<<"), depth)
        mappings = value if isinstance(value, list) else [value]
        if not all(isinstance(mapping, dict) for mapping in mappings):
            raise self._error("'<<' merges mappings, and this is something else", key)
        return {name: item for mapping in reversed(mappings) for name, item in mapping.items()}

    def _alias(self, event: Any) -> Any:
        anchored = self._anchors.get(event.anchor, ())
        if anchored is None:
            raise self._error("this alias stands inside the value that it names", event)
        if not anchored:
            raise self._error(_ALIAS, event)
        value, size = anchored
        self._expanded += size
        if self._expanded > MAX_EXPANDED:
            raise self._error(f"aliases expand to more than {MAX_EXPANDED} values", event)
        return value

    def _place(self, path: KeyPath, event: Any) -> None:
        mark = event.start_mark
        self.document.positions[path] = Position(self._file, mark.line + 1, mark.column + 1)

    def _error(self, problem: str, event: Any) -> ConfigError:
        mark = event.start_mark
        return ConfigError(problem, position=Position(self._file, mark.line + 1, mark.column + 1))


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
