"""Dead letters of an app that say their cause: counted and chosen by it, however many there are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tasuki import App
from tasuki.contracts.driver import Causes, Outgoing
from tasuki.dead import reading
from tasuki.dead.selection import Choice
from tasuki.drivers.memory.driver import MemoryDriver
from tasuki.errors import BrokerTimeoutError
from tasuki.message import Message

pytestmark = pytest.mark.anyio
VIRTUAL_TIME = True

A, B = "aaaaaaaaaaaa", "bbbbbbbbbbbb"


@pytest.fixture
def app(make_app: Callable[..., App]) -> App:
    app = make_app()
    app.queue("dead", lease="30s")
    for name in ("tasks", "other"):
        app.queue(name, dead_letter="dead", lease="30s")
    return app


@pytest.fixture
def peeks(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many messages each peek shows that does not name a cause."""
    found: list[int] = []
    peek = MemoryDriver.peek

    async def noted(self: MemoryDriver, queue: str, limit: int, after: int = 0) -> list[Message]:
        messages = await peek(self, queue, limit, after)
        found.append(len(messages))
        return messages

    monkeypatch.setattr(MemoryDriver, "peek", noted)
    return found


async def bury(app: App, cause: str, *ids: str, queue: str = "app:tasks", error: str = "KeyError: 'a'") -> None:
    headers: dict[str, Any] = {"x_original_queue": queue, "x_dead_letter_reason": "rejected", "x_last_error": error}
    headers |= {
        "x_dead_letter_time": app._runtime.clock.time(),
        "x_error_type": "KeyError",
        "content_type": "json/plain",
    }
    headers |= {"x_cause": cause} if cause else {}
    assert not any(await app._runtime.queue("dead").forward([Outgoing(id, b"{}", dict(headers)) for id in ids]))


async def ids(app: App, queue: str) -> list[str]:
    return [message.id for message in await app._runtime.queue(queue).peek(10_000)]


async def test_groups_count_letters_that_are_not_read(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "NEWEST", 2)
    async with app:
        await bury(app, A, *"abcd")
        await bury(app, B, *"ef")
        found = await app.dead.letters()
        by_type = await app.dead.letters(by="type")
    assert [(group.key, group.count, group.ids) for group in found.groups] == [
        (A, 4, ("d", "c", "b")), (B, 2, ("f", "e")),
    ]  # fmt: skip
    assert (found.groups[0].queue, found.groups[0].type, found.groups[0].sample) == (
        "app:tasks", "KeyError", "KeyError: 'a'",
    )  # fmt: skip
    assert (found.count, found.is_all, [letter.id for letter in found.letters]) == (6, True, ["e", "f"])
    assert (by_type.count, by_type.is_all) == (2, False)


async def test_letters_without_a_cause_join_the_groups_as_far_as_they_are_read(
    app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with app:
        await bury(app, "", "old")
        derived = (await app.dead.letters()).groups[0].key
        await bury(app, derived, "new", "newer")
        await bury(app, B, *"wxyz")
        found = await app.dead.letters()
        assert [(group.key, group.count) for group in found.groups] == [(B, 4), (derived, 3)]
        assert found.is_all
        monkeypatch.setattr(reading, "NEWEST", 2)
        found = await app.dead.letters()
        assert [(group.key, group.count) for group in found.groups] == [(B, 4), (derived, 2)]
        assert not found.is_all


async def test_letters_of_one_queue_alone_are_read(app: App) -> None:
    async with app:
        await bury(app, A, "a", "b")
        await bury(app, A, "c", queue="app:other")
        found = await app.dead.letters("other")
    assert [(group.key, group.count) for group in found.groups] == [(A, 1)]


async def test_letters_of_one_cause_are_found_behind_the_newest(
    app: App, monkeypatch: pytest.MonkeyPatch, peeks: list[int]
) -> None:
    monkeypatch.setattr(reading, "NEWEST", 3)
    async with app:
        await bury(app, A, "a1", "a2")
        await bury(app, B, *(f"b{number}" for number in range(10)))
        found = await app.dead.letters(where=f"cause == '{A}'")
        assert ([letter.id for letter in found.letters], found.is_all) == (["a1", "a2"], True)
        found = await app.dead.letters(where=f"id != 'a1' && cause == '{A}'")
        assert ([letter.id for letter in found.letters], found.is_all) == (["a2"], True)
        found = await app.dead.letters(where=f"cause == '{B}'")
        assert ([letter.id for letter in found.letters], found.is_all) == (["b7", "b8", "b9"], False)
        assert peeks == []
        assert await app.dead.redrive("dead", dry_run=True, where=f"cause == '{B}'", to="other") == 10
        assert await app.dead.redrive("dead", dry_run=True, where=f"cause == '{B}'", to="other", limit=4) == 4
        assert await app.dead.redrive("dead", dry_run=True, where=f"cause == '{A}'") == 2
        assert await app.dead.redrive("dead", dry_run=True, where="cause == 'cccccccccccc'", to="other") == 0


async def test_a_redrive_of_one_cause_looks_at_its_letters_alone(app: App, peeks: list[int]) -> None:
    async with app:
        for number in range(300):
            await bury(app, A if number % 3 == 0 else B, f"{number:03}")
        assert await app.dead.redrive("dead", where=f"cause == '{A}' && id != '150'") == 99
        assert peeks == []
        assert await ids(app, "dead") == [f"{number:03}" for number in range(300) if number % 3 or number == 150]
        assert await app.dead.redrive("dead", where=f"cause == '{B}'", limit=5) == 5
        assert len(await ids(app, "dead")) == 196


async def test_a_redrive_of_one_cause_finds_letters_that_do_not_say_theirs(app: App) -> None:
    async with app:
        await bury(app, "", "old")
        derived = (await app.dead.letters()).groups[0].key
        await bury(app, derived, "new")
        await bury(app, B, "other")
        assert await app.dead.redrive("dead", dry_run=True, where=f"cause == '{derived}'", to="other") == 2
        assert await app.dead.redrive("dead", where=f"cause == '{derived}'") == 2
        assert await ids(app, "dead") == ["other"]


async def test_letters_are_read_where_counting_takes_too_long(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    async def late(self: MemoryDriver, queue: str, most: int, also: object = ()) -> Causes:
        raise BrokerTimeoutError("no answer in time")

    async with app:
        await bury(app, A, "a")
        await bury(app, B, "b", "c")
        monkeypatch.setattr(MemoryDriver, "causes", late)
        found = await app.dead.letters()
        assert [(group.key, group.count) for group in found.groups] == [(B, 2), (A, 1)]
        assert await app.dead.redrive("dead", where=f"cause == '{B}'") == 2


@pytest.mark.parametrize(
    ("where", "ids", "cause", "is_alone"),
    [
        (f"cause == '{A}'", (), A, True),
        (f"cause == '{A}'", ("1",), A, False),
        (f"cause == '{A}' && age > 1", (), A, False),
        ("cause == 'zz'", (), "", False),
        ("", (), "", False),
    ],
)
def test_the_cause_of_a_choice(where: str, ids: tuple[str, ...], cause: str, is_alone: bool) -> None:
    choice = Choice(where, ids)
    assert (choice.cause, choice.is_cause_alone) == (cause, is_alone)


async def test_a_counted_cause_is_titled_by_the_commonest_text_of_its_newest_letters(app: App) -> None:
    async with app:
        await bury(app, A, *"abcd", error="OSError: 1")
        await bury(app, A, "e", error="OSError: 2")
        await bury(app, B, *map(str, range(30)), error="OSError: 3")
        found = await app.dead.letters()
    assert [(group.key, group.sample, group.other_texts) for group in found.groups] == [
        (B, "OSError: 3", 0), (A, "OSError: 1", 1),
    ]  # fmt: skip
