"""Passages: what the installed package knows of itself, and which of them answer a question.

The pages of the documentation are not in it.
"""

from __future__ import annotations

import inspect
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import tasuki
from tasuki.fields.types import Config, DriverKind
from tasuki.kinds.kind import find_kind, kind_names
from tasuki.kinds.schema import docstrings, project_schema

_OBJECT = re.compile(r"<[^<>]* at 0x[0-9a-f]+>")
"""A default that means that nothing is given."""
_WORD = re.compile(r"[A-Za-z0-9]+")
_SATURATION, _LENGTH = 1.2, 0.3
"""As of BM25: how soon more of a word adds little, and how much long passages lose."""
_TITLE = 6
"""A word in the title counts as this many in the text."""
_ENDINGS = ("ing", "es", "ed", "s")


class Passage(NamedTuple):
    """One piece: a command, a field of an entry kind, a function."""

    title: str
    text: str


class Passages:
    """Made at the first search by ``read``, which is slow."""

    def __init__(self, read: Callable[[], Iterable[Passage]]) -> None:
        self._read = read
        self._all: Sequence[Passage] = ()
        self._words: list[Counter[str]] = []
        self._in_how_many: Counter[str] = Counter()

    def find(self, question: str, most: int) -> list[Passage]:
        """The best passages, the best first; none if no word of the question is in any. May run in any thread."""
        if not self._all:
            self._index()
        asked = set(_words(question))
        scores = [(self._score(asked, words), at) for at, words in enumerate(self._words)]
        best = sorted((pair for pair in scores if pair[0] > 0), key=lambda pair: (-pair[0], pair[1]))[:most]
        return [self._all[at] for _, at in best]

    def _index(self) -> None:
        passages = list(self._read())
        words = []
        for passage in passages:
            counts: Counter[str] = Counter(_words(passage.text))
            for word in _words(passage.title):
                counts[word] += _TITLE
            words.append(counts)
            self._in_how_many.update(counts.keys())
        self._words, self._all = words, passages

    def _score(self, asked: set[str], words: Counter[str]) -> float:
        total = len(self._words)
        length = 1 - _LENGTH + _LENGTH * words.total() / 80
        score = 0.0
        for word in asked & words.keys():
            rare = math.log(1 + (total - self._in_how_many[word] + 0.5) / (self._in_how_many[word] + 0.5))
            count = words[word]
            score += rare * count * (_SATURATION + 1) / (count + _SATURATION * length)
        return score


def _words(text: str) -> list[str]:
    return [_stem(word.lower()) for word in _WORD.findall(text)]


def _stem(word: str) -> str:
    for ending in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word.removesuffix(ending)
    return word


def of_kinds() -> Iterator[Passage]:
    """Every entry kind, and every field of one."""
    for name in kind_names():
        kind = find_kind(name)
        yield from _of_model(f"entry kind {name}", kind.model)
        if isinstance(kind, DriverKind):
            yield from _of_model(f"options of a queue on {name}", kind.queue_options)
            yield from _of_model(f"driver_options of a consumer on {name}", kind.consumer_options)
    for name, part in project_schema()["$defs"].items():
        if "properties" in part:
            yield from _of_part(name.removesuffix("Config"), part)


def _of_model(title: str, model: type[Config]) -> Iterator[Passage]:
    texts = docstrings(model)
    names = [field.alias or name for name, field in model.model_fields.items() if name in texts]
    yield Passage(title, f"{inspect.cleandoc(model.__doc__ or '')}\nFields: {', '.join(names) or 'none'}")
    for name, field in model.model_fields.items():
        if name in texts:
            default = "required" if field.is_required() else f"default {field.get_default(call_default_factory=True)!r}"
            yield Passage(f"{title}, field {field.alias or name}", f"{texts[name]} ({default})")


def _of_part(title: str, part: Mapping[str, Any]) -> Iterator[Passage]:
    fields = part["properties"].items()
    lines = [f"{name}: {field.get('description', '')}" for name, field in fields]
    yield Passage(f"part of entries, {title}", "\n".join([part.get("description", ""), *lines]))


def of_python() -> Iterator[Passage]:
    """The public names of the package, and the methods of public classes."""
    for name in tasuki.__all__:
        thing = getattr(tasuki, name)
        if not (inspect.isclass(thing) or callable(thing)):
            continue
        yield Passage(f"Python tasuki.{name}", _described(name, thing))
        if inspect.isclass(thing):
            for own, member in inspect.getmembers(thing):
                is_ours = str(getattr(member, "__module__", "")).startswith("tasuki")
                if is_ours and not own.startswith("_") and callable(member) and member.__doc__:
                    yield Passage(f"Python tasuki.{name}.{own}", _described(own, member))


def _described(name: str, thing: Any) -> str:
    try:
        head = f"{name}{_OBJECT.sub('…', str(inspect.signature(thing)))}"
    except (ValueError, TypeError):
        head = name
    return f"{head}\n{inspect.getdoc(thing) or ''}"
