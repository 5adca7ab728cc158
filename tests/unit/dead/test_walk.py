"""Pages of a queue: no message is passed over, and a page of large ones is small."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import pytest

from tasuki.dead.walk import FIRST, Search, Walk, fitting
from tasuki.message import Message

pytestmark = pytest.mark.anyio
LARGE = b"x" * 2**20


class Shelf:
    """A driver that shows these messages; ``pages`` has the size of each answer, in messages and bytes."""

    def __init__(self, messages: Sequence[Message]) -> None:
        self.messages = list(messages)
        self.pages: list[tuple[int, int]] = []

    def _shown(self, found: list[Message]) -> list[Message]:
        self.pages.append((len(found), sum(len(each.body) for each in found)))
        return found

    async def peek(self, queue: str, limit: int, after: int = 0) -> list[Message]:
        return self._shown(self.messages[after : after + limit])

    async def find(self, queue: str, ids: Collection[str]) -> list[Message]:
        return self._shown([each for each in self.messages if each.id in ids])


def made(*bodies: bytes) -> list[Message]:
    return [Message(f"m{number}", body, {"n": 1}) for number, body in enumerate(bodies)]


async def walked(shelf: Shelf) -> list[str]:
    driver: Any = shelf
    walk, seen = Walk(driver, "dead"), []
    while page := await walk.page():
        for message in page:
            walk.stays(message)
            seen.append(message.id)
    return seen


async def test_small_messages_come_in_few_pages() -> None:
    shelf = Shelf(made(*[b"{}"] * 30_000))
    assert await walked(shelf) == [f"m{number}" for number in range(30_000)]
    assert len(shelf.pages) < 15
    assert max(count for count, _ in shelf.pages) <= 5001


async def test_large_messages_come_a_few_at_a_time() -> None:
    shelf = Shelf(made(*[LARGE] * 100))
    assert len(await walked(shelf)) == 100
    assert max(size for _, size in shelf.pages[:-1]) <= FIRST * 2**20
    assert max(size for _, size in shelf.pages[1:]) <= 9 * 2**20


async def test_a_page_is_measured_by_all_of_its_messages() -> None:
    """The first hundred of each page are small, the others are not."""
    assert fitting(made(*[b"{}"] * 100, *[LARGE] * 200)) < 20
    shelf = Shelf(made(*([b"{}"] * 400 + [LARGE] * 100) * 2))
    assert len(await walked(shelf)) == 1000


async def test_messages_are_searched_a_few_at_a_time() -> None:
    shelf = Shelf(made(*[LARGE] * 250))
    driver: Any = shelf
    search, found = Search(driver, "dead", [f"m{number}" for number in range(250)]), []
    while page := await search.page():
        found += [message.id for message in page]
    assert sorted(found) == sorted(message.id for message in shelf.messages)
    assert [count for count, _ in shelf.pages] == [100, 63, 63, 24]


async def test_others_take_some_meanwhile() -> None:
    shelf = Shelf(made(*[b"{}"] * 200))
    driver: Any = shelf
    walk = Walk(driver, "dead")
    seen = []
    while page := await walk.page():
        for message in page:
            walk.stays(message)
            seen.append(message.id)
        if len(shelf.pages) == 2:
            del shelf.messages[:50]
    assert walk.restarts == 1
    assert set(seen) == {f"m{number}" for number in range(200)}
