"""Searching: the passages of the documentation that this installation has, by the words of a question; no I/O."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

_WORD = re.compile(r"[A-Za-z0-9]+")
_SATURATION, _LENGTH = 1.2, 0.3
"""As of BM25: how soon more of a word adds little, and how much long passages lose."""
_TITLE = 6
"""A word in the title counts as so many in the text."""
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
