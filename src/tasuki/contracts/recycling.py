"""Limits after which a worker process is replaced: a number of messages, a size, an age."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from tasuki.units import format_duration, format_size

_SPREAD = 0.1
"""Share of the age by which processes that started together differ, so that they do not all end together."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Handled messages, resident bytes and seconds after which a process ends; None: no limit."""

    messages: int | None = None
    memory: int | None = None
    age: float | None = None

    def __bool__(self) -> bool:
        """Whether there is any."""
        return (self.messages, self.memory, self.age) != (None, None, None)

    def reached(self, messages: int, memory: Callable[[], int], age: float) -> str:
        """Which limit is reached, in words; empty if none is. ``memory`` is called only where it matters."""
        if self.messages is not None and messages >= self.messages:
            return f"it has handled {messages} messages (at most {self.messages})"
        if self.age is not None and age >= self.age:
            return f"it has run for {format_duration(round(age))} (at most about {format_duration(self.age)})"
        if self.memory is not None and (held := memory()) >= self.memory:
            return f"it holds {held // 2**20} MiB of memory (at most {format_size(self.memory)})"
        return ""

    def spread(self, share: float) -> Limits:
        """The limits of one process, whose age is up to a tenth shorter; ``share`` is from 0 to 1."""
        return self if self.age is None else replace(self, age=self.age * (1 - _SPREAD * share))


NO_LIMITS = Limits()
