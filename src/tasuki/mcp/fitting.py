"""Fitting: a result as JSON of a bounded size, which names each cut; no I/O."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

MOST = 32 * 1024
"""Bytes of a result: a model pays for each, and forgets other things for it."""
_TEXTS = (8000, 3000, 1000, 300)
"""Characters to which texts are cut before lists are."""


def fitted(document: dict[str, Any], most: int = MOST) -> str:
    """The document as JSON in at most ``most`` bytes; ``cut`` in it names the missing part."""
    text = _encoded(document)
    if len(text) <= most:
        return text.decode()
    notes: list[str] = []
    for longest in _TEXTS:
        document = _with_short_texts(document, longest)
        notes = [f"texts of more than {longest} characters were cut to fit into {most} bytes"]
        if len(text := _noted(document, notes)) <= most:
            return text.decode()
    lists = dict(_lists(document))
    before = {path: len(items) for path, items in lists.items()}
    while len(text := _noted(document, [*notes, *_counts(lists, before)])) > most:
        # Of a single item its own lists are cut, before it goes as a whole.
        path = max(lists, key=lambda each: (len(lists[each]) > 1, len(_encoded(lists[each]))), default="")
        if not path or not lists[path]:
            return _encoded({"cut": [f"the result needs more than {most} bytes: ask for less"]}).decode()
        del lists[path][len(lists[path]) // 2 :]
        if "next" in document:  # its cursor would leave out the items cut here
            document["next"] = None
        lists = dict(_lists(document))
    return text.decode()


def _encoded(value: Any) -> bytes:
    return msgspec.json.encode(value)


def _noted(document: dict[str, Any], notes: list[str]) -> bytes:
    return _encoded({"cut": notes, **document})


def _counts(lists: dict[str, list[Any]], before: dict[str, int]) -> list[str]:
    return [
        f"{path}: the first {len(items)} of {before[path]}; ask again with a smaller limit"
        for path, items in lists.items()
        if len(items) < before.get(path, 0)
    ]


def _with_short_texts(value: Any, longest: int) -> Any:
    if isinstance(value, str) and len(value) > longest:
        return f"{value[:longest]}… (+{len(value) - longest} characters)"
    if isinstance(value, dict):
        return {name: _with_short_texts(item, longest) for name, item in value.items()}
    if isinstance(value, list):
        return [_with_short_texts(item, longest) for item in value]
    return value


def _lists(value: Any, path: str = "") -> Iterator[tuple[str, list[Any]]]:
    """The lists that can be shortened, and their paths; those in one of several items go with it."""
    if isinstance(value, list):
        yield path, value
        if len(value) == 1:
            yield from _lists(value[0], f"{path}[0]")
    elif isinstance(value, dict):
        for name, item in value.items():
            yield from _lists(item, f"{path}.{name}" if path else name)
