"""What the name and the time of a message's file say."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Literal, NamedTuple

from tasuki.contracts import driver as contract

Step = contract.Settlement | Literal["start", "extend"]


class Entry(NamedTuple):
    """The name of a message's file. The file's modification time says when the message can be received."""

    place: str  # in the queue: when the message was published, and a random part
    turn: int = 0  # rises with each delivery and settlement, so that no name is used twice; odd: the message is held
    failures: int = 0
    suspect: int = 0
    started: int = 0

    def __str__(self) -> str:
        return ".".join(map(str, self))

    def taken(self) -> Entry:
        was_held = self.turn % 2  # and its lease has ended
        return Entry(self.place, self.turn + 1 + was_held, self.failures + self.started, self.suspect or was_held)

    def after(self, step: Step) -> Entry | None:
        match step:
            case contract.Ack():
                return None
            case contract.Nack():
                return Entry(self.place, self.turn + 1, self.failures + 1)
            case contract.Release():
                return Entry(self.place, self.turn + 1, self.failures, self.suspect)
        return self._replace(started=1) if step == "start" else self


def entries_in(folder: Path) -> Iterator[tuple[Entry, float]]:
    """The messages in order, each with the time at which it can be received."""
    for name in sorted(os.listdir(folder)):
        if not name.startswith("."):
            place, *numbers = name.split(".")
            with suppress(FileNotFoundError):
                yield Entry(place, *map(int, numbers)), (folder / name).stat().st_mtime
