"""consumer_count: this process's own consumers, and other processes' consumers as the stores report them."""

from __future__ import annotations

import asyncio
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tasuki import App
from tasuki.app.state import workers
from tasuki.app.state.workers import Census
from tasuki.drivers.sqlite.state.store import SQLiteStore
from tasuki.state import shared

pytestmark = pytest.mark.anyio


def app_on(url: str) -> App:
    """Two consumers at one queue, one at another."""
    app = App(url)
    mails, calls = app.queue("mails"), app.queue("calls")

    @mails.consumer(name="on-first")
    def first(body: object) -> None: ...

    @mails.consumer(name="on-second")
    def second(body: object) -> None: ...

    @calls.consumer(name="on-third")
    def third(body: object) -> None: ...

    return app


async def counts(app: App) -> tuple[Any, Any]:
    one, other = [(await app._runtime.queue(name).info())["consumer_count"] for name in ("mails", "calls")]
    return one, other


async def until(app: App, wanted: tuple[int, int]) -> None:
    async with asyncio.timeout(20):
        while await counts(app) != wanted:
            await asyncio.sleep(0.01)


async def test_in_memory_the_own_consumers_are_all() -> None:
    async with app_on("memory://").worker() as app:
        assert await counts(app) == (2, 1)
        consumers = list(app._runtime.live().consumers.values())
        await consumers[0].stop(1)
        assert await counts(app) == (1, 1)


async def test_own_consumers_count_at_once_and_once(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/queue.db"
    async with app_on(url).worker() as one:
        assert await counts(one) == (2, 1)
        async with app_on(url) as reader:
            await until(reader, (2, 1))
            assert await counts(one) == (2, 1), "its own entry is not counted beside"
            async with app_on(url).worker() as other:
                await until(reader, (4, 2))
                assert await counts(one) == await counts(other) == (4, 2)
            assert await counts(reader) == (2, 1), "a clean stop is seen at once"


async def test_a_first_sign_that_comes_during_a_count_is_not_counted_beside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"sqlite:///{tmp_path}/queue.db"
    async with app_on(url).worker() as app, app_on(url) as reader:
        await until(reader, (2, 1))
        attendance, crews = app._runtime.live().attendance, list[Any]()
        key_in, crew_of = attendance.key_in, workers.crew_of

        async def noted(state: shared.SharedState) -> Any:
            crews.append(await crew_of(state))
            return crews[-1]

        monkeypatch.setattr(workers, "crew_of", noted)
        monkeypatch.setattr(attendance, "key_in", lambda state: key_in(state) if crews else "")
        assert await counts(app) == (2, 1)


async def test_a_census_reads_each_store_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listed: Counter[str] = Counter()
    real = SQLiteStore.list

    async def count(self: SQLiteStore, prefix: str = "", **options: Any) -> Any:
        listed[prefix] += 1
        return await real(self, prefix, **options)

    async with app_on(f"sqlite:///{tmp_path}/queue.db") as app:
        monkeypatch.setattr(SQLiteStore, "list", count)
        census = Census(app._runtime.live())
        for id in ("app:mails", "app:calls"):
            found = await app._runtime.queue(id).info_by(partial(census.count, id), partial(census.depth, id))
            assert found["consumer_count"] == 0
    assert listed == {"presence/": 1}


async def test_a_silent_store_makes_them_unknown_within_a_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: Counter[str] = Counter()

    async def silent(self: SQLiteStore, *_: Any, **__: Any) -> Any:
        asked["store"] += 1
        await asyncio.Event().wait()

    async with app_on(f"sqlite:///{tmp_path}/queue.db") as app:
        assert "is_pause_unknown" not in await app._runtime.queue("mails").info()
        for verb in ("list", "get"):
            monkeypatch.setattr(SQLiteStore, verb, silent)
        monkeypatch.setattr(shared, "SILENT", 0.5)
        info = await app._runtime.queue("mails").info()
        again = await app._runtime.queue("calls").info()
    assert (info["consumer_count"], info["is_pause_unknown"], info["ready"]) == (None, True, 0)
    assert again["is_pause_unknown"]
    assert asked["store"] == 2, "once for each question; a store that was silent a moment ago is not asked again"
