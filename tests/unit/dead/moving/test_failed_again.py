"""Letters that came back are found at the end of the queue, a few at a time, also where others took and added some."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from tasuki.contracts.driver import Capabilities, Depth
from tasuki.dead.moving.moving import FailedAgain
from tasuki.dead.walk import FIRST
from tasuki.message import BATCH, Message

pytestmark = pytest.mark.anyio


class Shelf:
    """A driver with these messages; ``pages`` has the size of each answer in bytes."""

    capabilities = Capabilities()

    def __init__(self, messages: Sequence[Message]) -> None:
        self.messages, self.pages = list(messages), list[int]()

    async def depth(self, queue: str) -> Depth:
        return Depth(len(self.messages), 0, 0, None)

    async def peek(self, queue: str, limit: int, after: int = 0) -> list[Message]:
        found = self.messages[after : after + limit]
        self.pages.append(sum(len(each.body) for each in found))
        return found


def letters(prefix: str, number: int, body: bytes = b"{}", batch: str = "") -> list[Message]:
    return [Message(f"{prefix}{n}", body, {BATCH: batch} if batch else {}) for n in range(number)]


async def found(shelf: Shelf, old: int) -> frozenset[str]:
    places: Any = SimpleNamespace(source=SimpleNamespace(driver=shelf, spec=SimpleNamespace(name="dead")))
    return await FailedAgain(places)._found("7", old)


async def test_letters_that_others_took_and_added_hide_none() -> None:
    shelf = Shelf([*letters("old", 500), *letters("back", 60, batch="7"), *letters("new", 90)])
    assert len(await found(shelf, old=700)) == 60, "others took 200 of the old ones"


async def test_a_few_of_large_letters_are_read_at_a_time() -> None:
    shelf = Shelf([*letters("old", 400, b"x" * 2**20), *letters("back", 30, b"x" * 2**20, batch="7")])
    assert len(await found(shelf, old=400)) == 30
    assert max(shelf.pages) <= FIRST * 2**20
    assert max(shelf.pages[1:]) <= 9 * 2**20
    assert sum(shelf.pages) < 100 * 2**20, "it does not go on to the beginning"
