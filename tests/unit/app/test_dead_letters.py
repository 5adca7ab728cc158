"""Dead letters of an app: groups, questions, and a redrive of some."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tasuki import App
from tasuki.app.handle import QueueHandle
from tasuki.app.lifecycle.running import wait_until_empty
from tasuki.contracts.driver import Outgoing
from tasuki.dead import reading
from tasuki.dead.selection import Choice
from tasuki.drivers.memory.driver import MemoryDriver
from tasuki.errors import HeldBackError, QueueNotFoundError, UnsupportedError
from tasuki.testing import TestApp

pytestmark = pytest.mark.anyio
VIRTUAL_TIME = True


@pytest.fixture
def app(make_app: Callable[..., App]) -> App:
    app = make_app()
    app.queue("dead", lease="30s")
    for name in ("tasks", "other"):
        app.queue(name, dead_letter="dead", lease="30s")
    app.queue("alone")
    return app


async def bury(app: App, *ids: str, queue: str = "app:tasks", error: str = "KeyError: 'a'", body: str = "{}") -> None:
    now = app._runtime.clock.time()
    headers: dict[str, Any] = {"x_original_queue": queue, "x_dead_letter_reason": "rejected", "x_last_error": error}
    headers |= {"attempts": 3, "x_dead_letter_time": now, "tenant": "acme", "content_type": "json/plain"}
    assert not any(await app._runtime.queue("dead").forward([Outgoing(id, body.encode(), dict(headers)) for id in ids]))


async def ids(app: App, queue: str) -> list[str]:
    return [message.id for message in await app._runtime.queue(queue).peek(10_000)]


@asynccontextmanager
async def other_reader(app: App, queue: str) -> AsyncIterator[None]:
    """Another process borrows from the queue."""
    state = app._runtime.live().state_of(f"app:{queue}")
    assert state is not None
    store = await state.store()
    assert await store.hold(f"borrow/app:{queue}", "other", places=1, lease=60.0)
    yield
    await store.release(f"borrow/app:{queue}", "other")


async def fail(body: int) -> None:
    raise KeyError(f"order-{body}")


def failing(app: App) -> QueueHandle[Any]:
    jobs = app.queue("jobs", dead_letter={"queue": "dead", "max_attempts": 1})
    jobs.consumer(fail)
    return jobs


async def test_a_handler_that_fails_is_a_cause_with_type_and_place(app: App) -> None:
    jobs = failing(app)
    async with app.worker():  # "async with app" would not consume, and the queue never be empty
        for number in range(3):
            await jobs.publish(number)
        await wait_until_empty(lambda: app._runtime.assembly)
        found = await app.dead.letters()
    [group] = found.groups
    assert (group.count, group.type, group.place) == (3, "KeyError", "tests/unit/app/test_dead_letters.py:fail")
    assert {letter.message.headers["x_cause"] for letter in found.letters} == {group.key}
    assert found.is_all


async def test_a_handler_that_fails_in_a_test_app_is_the_same_cause(app: App) -> None:
    jobs = failing(app)
    async with TestApp(app) as t:
        await jobs.publish(1)
        await jobs.publish(22)
        await t.drain()
        one, other = (letter.headers for letter in t.dead)
    assert (one["x_error_type"], one["x_place"]) == ("KeyError", "tests/unit/app/test_dead_letters.py:fail")
    assert one["x_cause"] == other["x_cause"]


async def test_groups_of_all_of_one_and_of_the_letters_from_one_queue(app: App) -> None:
    async with app:
        await bury(app, "1", "2")
        await bury(app, "3", queue="app:other", error="ValueError: b")
        for queue, counts in ((("", [2, 1])), ("dead", [2, 1]), ("tasks", [2]), ("other", [1])):
            assert [group.count for group in (await app.dead.letters(queue)).groups] == counts
        assert [group.key for group in (await app.dead.letters(by="type")).groups] == ["KeyError", "ValueError"]
        with pytest.raises(QueueNotFoundError, match="has no dead-letter queue, and is none"):
            await app.dead.letters("alone")
        with pytest.raises(ValueError, match="grouped by"):
            await app.dead.letters(by="colour")


@pytest.mark.parametrize(
    ("where", "found"),
    [
        ("id == '1'", ["1"]),
        ("queue == 'app:other'", ["2"]),
        ("type == 'KeyError' && reason == 'rejected' && place == '' && task == ''", ["1"]),
        ("age >= 60 && attempts == 3", ["1"]),
        ("headers.tenant == 'acme' && headers.none == nil", ["1", "2"]),
        ("body.n in [7, 8]", ["2"]),
        ("error contains 'b' and not (cause == '')", ["2"]),
    ],
)
async def test_a_question_may_name_all_that_a_letter_says(app: App, where: str, found: list[str]) -> None:
    async with app:
        await bury(app, "1")
        await asyncio.sleep(100)
        await bury(app, "2", queue="app:other", error="ValueError: b", body='{"n": 7}')
        assert sorted(letter.id for letter in (await app.dead.letters(where=where)).letters) == found


async def test_a_letter_that_cannot_be_asked_is_counted_and_stays(app: App, caplog: pytest.LogCaptureFixture) -> None:
    async with app:
        await bury(app, "1", body="7")
        await bury(app, "2", body="not json")
        await bury(app, "3", body='{"n": 1}')
        found = await app.dead.letters(where="body.n == 1")
        assert ([letter.id for letter in found.letters], found.unclear) == (["3"], 2)
        assert "cannot be decoded" in found.problem
        with caplog.at_level(logging.WARNING, "tasuki"):
            assert await app.dead.redrive("dead", where="body.n == 1") == 1
        assert "2 messages stay" in caplog.text
        assert await ids(app, "dead") == ["1", "2"]


async def test_a_mistake_in_a_question_says_where(app: App) -> None:
    async with app:
        with pytest.raises(ValueError, match=r"'colour' is not known; there are id, .* headers and body .*column 1"):
            await app.dead.letters(where="colour == 1")


async def test_a_redrive_of_a_queue_that_is_no_dead_letter_queue_names_the_one_that_is_meant(app: App) -> None:
    async with app:
        await bury(app, "1")
        with pytest.raises(ValueError, match=r"its dead letters are in 'app:dead': app\.dead\.redrive\('app:dead'\)"):
            await app.dead.redrive("tasks")
        with pytest.raises(ValueError, match="is no dead-letter queue"):
            await app.dead.redrive("tasks", dry_run=True)
        assert await app.dead.redrive("tasks", to="other") == 0
        assert await app.dead.redrive("alone") == 0
        assert await app.dead.redrive("dead") == 1


async def test_the_newest_of_a_long_queue(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "NEWEST", 3)
    async with app:
        await bury(app, *"abc")
        assert (await app.dead.letters()).is_all
        await bury(app, "d")
        found = await app.dead.letters()
    assert ([letter.id for letter in found.letters], found.is_all) == (["b", "c", "d"], False)


async def test_fewer_are_read_where_letters_are_large(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"{number:03}" for number in range(150)]
    async with app:
        await bury(app, *names)
        assert [letter.id for letter in (await app.dead.letters()).letters] == names
        monkeypatch.setattr(reading, "MOST_BYTES", 1)
        found = await app.dead.letters()
    assert ([letter.id for letter in found.letters], found.is_all) == (names[-20:], False)


async def test_letters_that_a_broker_cannot_show_are_borrowed(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    async with app:
        await bury(app, "1", "2")
        with monkeypatch.context() as patch:
            patch.setattr(MemoryDriver, "capabilities", MemoryDriver.capabilities.without("peek"))
            found = await app.dead.letters()
            assert [letter.id for letter in found.letters] == ["1", "2"]
            assert (found.unseen, found.borrowed, found.is_all) == ({}, {"app:dead": 2}, True)
            assert await app.dead.redrive("dead", dry_run=True) == 2
        assert await ids(app, "dead") == ["1", "2"]


async def test_a_broker_that_shows_nothing_does_not_hide_the_others(
    make_app: Callable[..., App], monkeypatch: pytest.MonkeyPatch
) -> None:
    app = make_app()
    mute = app.entry("mute", "queue.driver.memory")
    app.queue("dead")
    app.queue("mute.dead", driver=mute)
    app.queue("tasks", dead_letter="dead")
    app.queue("others", dead_letter="mute.dead", driver=mute)
    async with app:
        await bury(app, "1")
        driver = app._runtime.queue("mute.dead").driver
        monkeypatch.setattr(driver, "capabilities", driver.capabilities.without("peek"), raising=False)
        async with other_reader(app, "mute.dead"):
            found = await app.dead.letters()
            assert ([letter.id for letter in found.letters], list(found.unseen)) == (["1"], ["app:mute.dead"])
            assert "another reader borrows its letters now" in found.unseen["app:mute.dead"]
            assert "tasuki redrive app:mute.dead sends letters back" in found.unseen["app:mute.dead"]
            with pytest.raises(HeldBackError, match=r"queue 'app:mute\.dead': another reader"):
                await app.dead.letters("others")
        assert (await app.dead.letters()).borrowed == {"app:mute.dead": 0}


async def test_a_reader_that_may_not_borrow_is_told_what_works(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    async with app:
        await bury(app, "1")
        monkeypatch.setattr(MemoryDriver, "capabilities", MemoryDriver.capabilities.without("peek"))
        with pytest.raises(UnsupportedError, match="tasuki redrive app:dead sends letters back, also chosen ones"):
            await reading.read(
                app._runtime.live(), {"app:dead": ""}, Choice(), "cause", app._runtime.clock, borrows=False
            )


async def test_a_redrive_of_some_leaves_the_others_in_order(app: App) -> None:
    async with app:
        await bury(app, *(str(number) for number in range(450)))
        assert await app.dead.redrive("dead", ids=["3", "440", "missing"]) == 2
        assert await ids(app, "tasks") == ["3", "440"]
        assert await ids(app, "dead") == [str(number) for number in range(450) if number not in (3, 440)]
        assert await app.dead.redrive("dead", where="id startsWith '44'", limit=2) == 2


async def test_a_redrive_by_ids_holds_nothing(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(MemoryDriver, "receive")
    monkeypatch.delattr(MemoryDriver, "peek")
    async with app:
        await bury(app, *"abca")
        assert await app.dead.redrive("dead", ids=["c", "a", "missing"]) == 2
        monkeypatch.undo()
        assert await ids(app, "tasks") == ["a", "c"]
        assert await ids(app, "dead") == ["b", "a"]


async def test_a_redrive_by_ids_holds_no_more_when_it_has_them(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[str] = []
    receive = MemoryDriver.receive
    monkeypatch.setattr(MemoryDriver, "capabilities", MemoryDriver.capabilities.without("transfer"))

    async def counting(self: MemoryDriver, *args: Any, **named: Any) -> Any:
        batch = await receive(self, *args, **named)
        taken.extend(received.id for received in batch)
        return batch

    monkeypatch.setattr(MemoryDriver, "receive", counting)
    async with app:
        await bury(app, *(str(number) for number in range(450)))
        assert await app.dead.redrive("dead", ids=["3", "7"]) == 2
        assert len(taken) == 100
        assert await app.dead.redrive("dead", ids=["5"], rate=0.01) == 1
        assert taken[100:] == ["0", "1", "2", "4", "5"]  # one at a time
        assert await ids(app, "dead") == [str(number) for number in range(450) if number not in (3, 5, 7)]


async def test_a_dry_run_moves_nothing(app: App) -> None:
    async with app:
        await bury(app, *"abc")
        await bury(app, "gone", queue="app:gone")
        assert await app.dead.redrive("dead", dry_run=True) == 3
        assert await app.dead.redrive("dead", dry_run=True, limit=2) == 2
        assert await app.dead.redrive("dead", dry_run=True, to="other") == 4
        assert await app.dead.redrive("dead", dry_run=True, where="id == 'b'") == 1
        assert await app.dead.redrive("dead", dry_run=True, ids=["c", "missing"]) == 1
        assert len(await ids(app, "dead")) == 4


async def test_a_rate_is_kept_and_what_is_held_does_not_come_again(app: App) -> None:
    async with app:
        await bury(app, "stays", *(str(number) for number in range(12)))
        started = app._runtime.clock.monotonic()
        assert await app.dead.redrive("dead", where="id != 'stays'", rate=0.1) == 12
        assert 110 <= app._runtime.clock.monotonic() - started <= 130
        assert await ids(app, "dead") == ["stays"]
        with pytest.raises(ValueError, match="a rate is above 0"):
            await app.dead.redrive("dead", rate=0)


@pytest.mark.parametrize(("rate", "receives"), [(0.02, 0.0), (None, 9.0)], ids=["a low rate", "slow receives"])
async def test_the_leases_of_what_is_held_are_renewed(
    app: App, monkeypatch: pytest.MonkeyPatch, rate: float | None, receives: float
) -> None:
    renewed: list[float] = []
    extend, receive = MemoryDriver.extend, MemoryDriver.receive

    async def timed(self: MemoryDriver, *args: Any, **named: Any) -> Any:
        renewed.append(app._runtime.clock.monotonic())
        return await extend(self, *args, **named)

    async def slow(self: MemoryDriver, *args: Any, **named: Any) -> Any:
        await asyncio.sleep(receives)
        return await receive(self, *args, **named)

    monkeypatch.setattr(MemoryDriver, "capabilities", MemoryDriver.capabilities.without("transfer").also("leases"))
    monkeypatch.setattr(MemoryDriver, "extend", timed)
    monkeypatch.setattr(MemoryDriver, "receive", slow)
    monkeypatch.setattr("tasuki.dead.moving.by_receive.CHUNK", 1)
    async with app:
        await bury(app, "stays", "1", "2", "3", "4", "5")
        started = app._runtime.clock.monotonic()
        assert await app.dead.redrive("dead", where="id != 'stays'", rate=rate) == 5
        ended = app._runtime.clock.monotonic()
    assert ended - started >= 50
    gaps = [later - earlier for earlier, later in zip([started, *renewed], [*renewed, ended], strict=True)]
    assert max(gaps) <= 20  # of 30


async def test_the_type_of_an_error_is_found_by_its_bare_name(app: App) -> None:
    async with app:
        headers: dict[str, Any] = {
            "x_original_queue": "app:tasks",
            "x_last_error": "StockError: none left",
            "content_type": "json/plain",
        }
        letter = Outgoing("1", b"{}", headers | {"x_error_type": "shop.StockError", "x_cause": "a" * 12})
        assert not any(await app._runtime.queue("dead").forward([letter]))
        for where, count in (
            ('type == "StockError"', 1),
            ('type == "shop.StockError"', 1),
            ('"StockError" == type', 1),
            ('type in ["OSError", "StockError"]', 1),
            ('type == "Error"', 0),
            ('type != "StockError"', 0),
            ('type startsWith "shop."', 1),
        ):
            assert (await app.dead.letters(where=where)).count == count, where
