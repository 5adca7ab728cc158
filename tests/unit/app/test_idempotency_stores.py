"""Idempotency keys while their store is slow or cannot be reached, and while the event loop is blocked."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tasuki import App, Context
from tasuki.clock import SystemClock
from tasuki.consumers.fetching.keeper import Keeper
from tasuki.consumers.handling.idempotency import Claim, OnceRecord, decode
from tasuki.consumers.jobs.idempotent import _Held
from tasuki.contracts.driver import Received
from tasuki.drivers.sqlite.driver import SQLiteDriver
from tasuki.drivers.sqlite.settings import SQLiteSettings
from tasuki.errors import AccessDeniedError, BrokerUnavailableError, StopTimeoutError
from tasuki.state.shared import SharedState
from tests.support.settings import parsed
from tests.unit.app.stores import store_of
from tests.unit.app.test_final_errors import Broken
from tests.unit.app.test_groups import until

pytestmark = pytest.mark.anyio
VIRTUAL_TIME = True


class Shop:
    """A handler of half a second, with a timeout of one; ``seen`` has each call's attempt."""

    def __init__(self, app: App, **options: Any) -> None:
        self.app, self.broken, self.seen = app, Broken(), list[int]()
        self.broken.keys = "once/"
        self.jobs = app.queue("jobs", dead_letter={"queue": "dead", "max_attempts": 2}, retry={"initial_delay": "1s"})
        self.dead = app.queue("dead")
        self.on_call: Callable[[], None] = lambda: None

        @self.jobs.consumer(idempotency="header.order", handler_timeout="1s", **options)
        async def pay(body: int, context: Context) -> int:
            self.seen.append(context.attempt)
            self.on_call()
            await asyncio.sleep(0.5)
            return body

    async def is_empty(self) -> None:
        async with asyncio.timeout(3600):
            while (await self.jobs.info())["message_count"]:
                await asyncio.sleep(0.1)


def settlements_of(app: App, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The kinds of all settlements from now on."""
    driver, found = app._runtime.live().queue("app:jobs").driver, list[str]()
    settle = driver.settle

    async def settling(queue: str, batch: Any) -> Any:
        found.extend(type(each).__name__ for each in batch)
        return await settle(queue, batch)

    monkeypatch.setattr(driver, "settle", settling)
    return found


async def test_a_store_that_fails_for_three_seconds_after_the_handler_lets_nothing_run_twice(
    make_app: Callable[..., App], monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = Shop(make_app())
    async with shop.app.worker():
        store = await store_of(shop.app)
        shop.broken.breaks(store, monkeypatch)

        def fail() -> None:
            shop.broken.error = BrokerUnavailableError("gone")

        shop.on_call = fail
        await shop.jobs.publish(1, {"order": "x"})
        await until(lambda: shop.broken.failures > 0)
        await asyncio.sleep(3)
        shop.broken.error = None
        await shop.is_empty()
        (record,) = [decode(each.value) for each in (await store.list("once/")).entries]
        await shop.jobs.publish(1, {"order": "x"})
        await shop.is_empty()
        assert (await shop.dead.depth()).ready == 0
    assert record.is_done
    assert shop.seen == [1]


async def test_a_slow_store_makes_no_dead_letters_of_code_that_never_ran(
    make_app: Callable[..., App], monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = Shop(make_app())
    async with shop.app.worker():
        shop.broken.breaks(await store_of(shop.app), monkeypatch)
        shop.broken.seconds = 5.0
        await shop.jobs.publish(1, {"order": "x"})
        await shop.is_empty()
        assert (await shop.dead.depth()).ready == 0
    assert shop.seen == [1]


@pytest.mark.parametrize("error", [AccessDeniedError("no"), ValueError("no")])
async def test_a_key_that_may_not_be_recorded_is_an_error_in_the_log_and_its_work_is_done(
    make_app: Callable[..., App], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    shop = Shop(make_app())
    async with shop.app.worker():
        shop.broken.breaks(await store_of(shop.app), monkeypatch)

        def fail() -> None:
            shop.broken.error = error

        shop.on_call = fail
        await shop.jobs.publish(1, {"order": "x"})
        await shop.is_empty()
    assert shop.seen == [1]
    assert "cannot be recorded as done, so another message of it would do the work again: no" in caplog.text


async def test_a_worker_that_stops_while_the_key_is_recorded_acks_the_message(
    make_app: Callable[..., App], monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = Shop(make_app())

    def slow() -> None:
        shop.broken.seconds = 20.0  # longer than a stop waits

    shop.on_call = slow
    await shop.app.start()
    settled = settlements_of(shop.app, monkeypatch)
    shop.broken.breaks(await store_of(shop.app), monkeypatch)
    await shop.jobs.publish(1, {"order": "x"})
    await until(lambda: bool(shop.seen))
    await asyncio.sleep(1)
    with pytest.raises(StopTimeoutError):
        await shop.app.close()
    assert (shop.seen, settled) == ([1], ["Ack"])


@pytest.mark.parametrize("trouble", ["busy", "gone"])
async def test_a_message_waits_for_its_key_in_its_worker_where_a_release_counts(
    make_app: Callable[..., App], monkeypatch: pytest.MonkeyPatch, trouble: str
) -> None:
    shop = Shop(make_app(), concurrency=2)
    async with shop.app.worker():
        store = await store_of(shop.app)
        driver = shop.app._runtime.live().queue("app:jobs").driver
        monkeypatch.setattr(driver, "counts_releases", lambda queue, receipt: True)
        settled = settlements_of(shop.app, monkeypatch)
        shop.broken.breaks(store, monkeypatch)
        if trouble == "gone":
            shop.broken.error = BrokerUnavailableError("gone")
            await shop.jobs.publish(1, {"order": "x"})
            await asyncio.sleep(30)
            shop.broken.error = None
        else:
            await shop.jobs.publish_many([1, 1])
            await shop.jobs.publish(1, {"order": "x"})
            await shop.jobs.publish(1, {"order": "x"})
        await shop.is_empty()
        assert "Release" not in settled
    assert shop.seen.count(1) == len(shop.seen)


async def test_a_key_that_cannot_be_claimed_is_postponed_and_no_attempt_is_counted(
    make_app: Callable[..., App], monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = Shop(make_app())
    async with shop.app.worker():
        shop.broken.breaks(await store_of(shop.app), monkeypatch)
        shop.broken.error = BrokerUnavailableError("gone")
        await shop.jobs.publish(1, {"order": "x"})
        await asyncio.sleep(60)
        assert shop.seen == []
        shop.broken.error = None
        await shop.is_empty()
        assert (await shop.dead.depth()).ready == 0
    assert shop.seen == [1]


@pytest.mark.parametrize("error", [AccessDeniedError("no"), ValueError("no")])
async def test_a_claim_that_may_not_be_written_is_a_failed_attempt(
    make_app: Callable[..., App], monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    shop = Shop(make_app())
    async with shop.app.worker():
        shop.broken.breaks(await store_of(shop.app), monkeypatch)
        shop.broken.error = error
        await shop.jobs.publish(1, {"order": "x"})
        await shop.is_empty()
        assert (await shop.dead.depth()).ready == 1
    assert shop.seen == []


@pytest.mark.parametrize("error", [BrokerUnavailableError("gone"), AccessDeniedError("no"), ValueError("defect")])
async def test_a_renewal_of_a_claim_that_fails_is_followed_by_another_one(
    make_app: Callable[..., App], monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    app, broken, seen, gate = make_app(), Broken(), list[int](), asyncio.Event()
    jobs = app.queue("jobs")

    @jobs.consumer(idempotency="header.order", concurrency=2)
    async def pay(body: int) -> None:
        seen.append(body)
        await gate.wait()

    async with app.worker():
        broken.keys = "once/"
        broken.breaks(await store_of(app), monkeypatch)
        await jobs.publish(1, {"order": "x"})
        await until(lambda: bool(seen))
        broken.error = error
        await until(lambda: broken.failures > 0)
        broken.error = None
        await jobs.publish(2, {"order": "x"})
        await asyncio.sleep(300)
        assert seen == [1]
        gate.set()
        await asyncio.sleep(10)
    assert seen == [1]


async def test_a_renewal_leaves_a_key_alone_that_another_delivery_has_taken_over(make_app: Callable[..., App]) -> None:
    app = make_app()
    app.queue("jobs")
    async with app:
        state = app._runtime.live().state_of("app:jobs")
        assert state is not None
        claim, clock = Claim("jobs/c/", "x", 60.0), app._runtime.clock
        first = _Held(state, claim, Received("m", b"", {}, 1, 1), 30.0, clock)
        later = _Held(state, claim, Received("m", b"", {}, 2, 2), 30.0, clock)
        assert await first.begin() is None
        assert await later.begin() is None, "its worker has died"
        await first.renew()
        store = await state.store()
        found = await store.get(claim.place)
        assert found is not None
        assert decode(found.value).owner == later._owner
        assert not await first.end(b"late")
        await later.renew()
        await asyncio.sleep(31)
        await later.renew()  # its claim has ended, and is free
        found = await store.get(claim.place)
        assert found is not None
        assert decode(found.value).owner == later._owner


async def test_an_end_that_meets_a_renewal_of_an_ended_claim_is_written(
    make_app: Callable[..., App], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store was unavailable for longer than the claim; the renewal, in its thread, has begun before the end."""
    app = make_app()
    app.queue("jobs")
    async with app:
        state = app._runtime.live().state_of("app:jobs")
        assert state is not None
        held = _Held(state, Claim("jobs/c/", "x", 60.0), Received("m", b"", {}, 1), 30.0, app._runtime.clock)
        assert await held.begin() is None
        store = await state.store()
        await asyncio.sleep(31)
        get, renewal, steps = store.get, asyncio.create_task(held.renew()), asyncio.Event()

        async def get_and_let_the_other_go_on(key: str) -> Any:
            found = await get(key)
            if asyncio.current_task() is renewal:
                await steps.wait()
            elif not steps.is_set():
                steps.set()
                await renewal
            return found

        monkeypatch.setattr(store, "get", get_and_let_the_other_go_on)
        await asyncio.sleep(1)  # the renewal has found that its claim has ended, and waits
        assert await held.end(b"done")
        found = await get(held._claim.place)
        assert found is not None
        assert decode(found.value).is_done


def test_a_blocked_event_loop_does_not_end_a_claim(tmp_path: Path) -> None:
    """The keeper's thread renews it; the loop of its handler is blocked until that has happened twice."""
    asyncio.run(_block(tmp_path))


async def _block(folder: Path) -> None:
    clock = SystemClock()
    driver = SQLiteDriver("app:driver", parsed(SQLiteSettings, path=str(folder / "queue.db")), clock=clock)
    await driver.open()
    keeper, state = Keeper(clock), SharedState(driver, "state", clock)
    held = _Held(state, Claim("jobs/c/", "x", 60.0), Received("m", b"", {}, 1), 0.3, clock)
    assert await held.begin() is None
    store, renewed = await state.store(), threading.Semaphore(0)
    put = store.put

    async def counted(*args: Any, **named: Any) -> int:
        version = await put(*args, **named)
        renewed.release()
        return version

    store.put = counted  # type: ignore[method-assign]
    keeper.add_claim(held)
    for _ in range(2):
        assert renewed.acquire(timeout=30), "the claim was not renewed while the loop was blocked"
    keeper.remove_claim(held)
    held.is_over = True
    found = await store.get(held._claim.place)
    assert found is not None
    assert decode(found.value) == OnceRecord(held._owner, "m", attempt=1)
    assert await held.end(b"done")
    await held.renew()
    found = await store.get(held._claim.place)
    assert found is not None
    assert decode(found.value).is_done
    keeper.remove(None)  # type: ignore[arg-type]
    await driver.close()
