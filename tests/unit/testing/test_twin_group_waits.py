"""Groups whose members sleep for longer than a group is kept without news."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from tasuki import App, Context
from tasuki.flow.group_records import GROUP_TTL, GROUPS, MEMBERS
from tasuki.testing import TestApp

pytestmark = pytest.mark.anyio
LONG = timedelta(seconds=GROUP_TTL, days=10)


def site() -> tuple[App, Any, Any, list[Any]]:
    """An app, its task that sleeps for some days, the task that follows, and what they have done."""
    app, done = App("memory://"), list[Any]()
    jobs = app.queue("jobs", dead_letter={"queue": "dead"})
    app.queue("dead")

    @jobs.task
    async def rest(days: float, context: Context) -> float:
        if days:
            await context.sleep(timedelta(days=days))
        return days

    @jobs.task
    async def end(what: Any) -> None:
        done.append(what)

    return app, rest, end, done


async def records(app: App) -> list[str]:
    state = app._runtime.assembly.state_of("app:jobs")  # type: ignore[union-attr]
    assert state is not None
    store = await state.store()
    return [entry.key for prefix in (GROUPS, MEMBERS) for entry in (await store.list(prefix)).entries]


async def test_a_member_sleeps_for_longer_than_its_group_is_kept() -> None:
    app, rest, end, done = site()
    async with TestApp(app) as t:
        await app.group([rest.message(0), rest.message(40), rest.message(0.5)], then=end)
        await rest.with_options(then=end).publish(41)
        await t.advance("42d")
        assert done == [[0, 40, 0.5], 41]
        assert await records(app) == []


async def test_a_shard_that_is_done_early_is_kept_for_the_others() -> None:
    """100 members have two of them."""
    app, rest, end, done = site()
    async with TestApp(app) as t:
        await app.group([rest.message(80 if number == 99 else 0) for number in range(100)], then=end)
        await t.advance("81d")
        assert done == [[*[0] * 99, 80]]


async def test_a_delayed_member_is_waited_for() -> None:
    app, rest, end, done = site()
    async with TestApp(app) as t:
        late = rest.with_options(delay=LONG)
        await app.group([rest.message(0), late.message(0)], then=end)
        await late.with_options(then=end).publish(0)
        await t.advance(LONG + timedelta(days=1))
        assert done == [[0, 0], 0]


async def test_a_member_with_an_id_of_its_own_is_cancelled_in_its_sleep() -> None:
    app, rest, end, done = site()
    async with TestApp(app) as t:
        await app.group([rest.with_options(id="mine").message(70)], then=end, on_error=end)
        await t.advance("40d")
        assert await app.jobs.cancel("mine") == "waiting"
        await t.drain()
        assert [each["kind"] for each in done] == ["Canceled"]


async def test_a_group_that_nothing_happens_to_ends() -> None:
    app, rest, end, done = site()
    async with TestApp(app) as t:
        await app.group([rest.message(0), rest.with_options(delay="1d").message(0)], then=end)
        await t.drain()
        await app.queue("jobs").purge()
        await t.advance("32d")
        assert (done, await records(app)) == ([], [])
