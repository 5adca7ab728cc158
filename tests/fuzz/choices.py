"""Choices: bytes as a row of decisions, so that a fuzzer of bytes can build anything that has a grammar."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


class Choices:
    """Takes one byte a decision; when the bytes are used up every decision is the first one, so that all ends."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def more(self) -> bool:
        """Whether there are bytes left."""
        return self._at < len(self._data)

    def below(self, limit: int) -> int:
        """A number from 0 to ``limit`` - 1."""
        if not self.more:
            return 0
        self._at += 1
        return self._data[self._at - 1] % limit

    def flag(self) -> bool:
        """Yes or no."""
        return self.below(2) == 1

    def pick(self, items: Sequence[T]) -> T:
        """One of them."""
        return items[self.below(len(items))]

    def take(self, most: int) -> bytes:
        """Some bytes as they are."""
        length = self.below(most + 1)
        self._at += length
        return self._data[self._at - length : self._at]
