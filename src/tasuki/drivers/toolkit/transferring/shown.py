"""Shown: where the messages are that a driver has shown, so that those that people choose are found at once."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from typing import Generic, TypeVar

from tasuki.message import Message

KEPT = 10_000
"""Places that are kept."""

P = TypeVar("P")


class Shown(Generic[P]):
    """Of the messages that ``peek`` has shown last, by queue and id. A place is a hint: its message may be gone."""

    def __init__(self) -> None:
        self._places: OrderedDict[tuple[str, str], P] = OrderedDict()

    def noted(self, queue: str, messages: list[Message], places: Iterable[P]) -> list[Message]:
        """Remember the places of messages; returns the messages."""
        for message, place in zip(messages, places, strict=True):
            self._places[queue, message.id] = place
            self._places.move_to_end((queue, message.id))
        while len(self._places) > KEPT:
            self._places.popitem(last=False)
        return messages

    def take(self, queue: str, ids: Iterable[str]) -> dict[str, list[P]]:
        """The places of the messages of these ids, as far as they were shown, and forget them."""
        found = ((id, self._places.pop((queue, id), None)) for id in ids)
        return {id: [place] for id, place in found if place is not None}
