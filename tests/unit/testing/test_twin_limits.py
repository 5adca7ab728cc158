"""TestApp keeps the limits of queues in virtual time: the next message comes when its time has come."""

from __future__ import annotations

from typing import Any

import pytest

from tasuki import App
from tasuki.testing import TestApp

pytestmark = pytest.mark.anyio


def app_of(handled: list[Any], **options: Any) -> App:
    app = App("memory://")
    mails = app.queue("mails", **options)

    @mails.consumer(concurrency=8)
    async def send(body: Any) -> None:
        handled.append(body)

    return app


async def test_time_brings_the_next_message_of_a_rate() -> None:
    handled: list[Any] = []
    async with TestApp(app_of(handled, limit="1/h")) as t:
        for number in range(4):
            await t.publish("mails", number)
        assert (await t.drain()).done == 1
        with pytest.raises(AssertionError, match="the limit of its queue lets the next one come in 1h: advance"):
            t.idle()
        await t.advance("59m")
        assert handled == [0]
        await t.advance("2m")
        assert handled == [0, 1]
        await t.advance("2h")
        assert handled == [0, 1, 2, 3]
        t.idle()


async def test_a_burst_gathers_over_time() -> None:
    handled: list[Any] = []
    async with TestApp(app_of(handled, limit={"rate": "60/h", "burst": 3})) as t:
        await t.advance("1d")
        for number in range(5):
            await t.publish("mails", number)
        await t.drain()
        assert handled == [0, 1, 2]
        await t.advance("1m")
        assert handled == [0, 1, 2, 3]


async def test_each_tenant_has_a_rate_and_turns() -> None:
    handled: list[Any] = []
    async with TestApp(app_of(handled, limit={"rate": "1/h", "key": "body.tenant"})) as t:
        for number in range(3):
            await t.publish("mails", {"tenant": "a", "n": number})
        await t.publish("mails", {"tenant": "b", "n": 0})
        await t.drain()
        assert sorted((each["tenant"], each["n"]) for each in handled) == [("a", 0), ("b", 0)]
        await t.advance("1h1s")
        assert [(each["tenant"], each["n"]) for each in handled[2:]] == [("a", 1)]


async def test_places_are_free_again_when_a_handler_has_failed() -> None:
    handled: list[Any] = []
    app = App("memory://")
    mails = app.queue("mails", limit={"concurrency": 1}, retry={"initial_delay": "1m", "jitter": 0})

    @mails.consumer(concurrency=4)
    async def send(body: Any) -> None:
        handled.append(body)
        if len(handled) == 1:
            raise ValueError(body)

    async with TestApp(app) as t:
        await t.publish("mails", "a")
        await t.publish("mails", "b")
        await t.drain()
        assert handled == ["a", "b"]
        await t.advance("2m")
        assert handled == ["a", "b", "a"]
        t.idle()
