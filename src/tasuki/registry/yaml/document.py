"""One YAML document as plain data, with the place of every key; hostile documents end early and cheaply."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

from tasuki.errors import ConfigError, Position
from tasuki.registry.entry import KeyPath
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
