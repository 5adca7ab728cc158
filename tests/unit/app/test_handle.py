from __future__ import annotations

from collections.abc import Callable

import pytest

from tasuki import App, Context, Envelope
from tasuki.errors import LifecycleError
from tasuki.queues.result import Confirmed

pytestmark = pytest.mark.anyio
VIRTUAL_TIME = True


async def test_publishes_and_looks_once_the_app_is_open(make_app: Callable[..., App]) -> None:
    app = make_app()
    queue = app.queue("tasks")
    with pytest.raises(LifecycleError, match="the app is not open: use it inside 'async with app:'"):
        await queue.publish(1)
    async with app:
        confirmed = await queue.publish({"a": 1}, {"h": 1}, delay="5s", priority=3, key="k", id="mine")
        assert confirmed == Confirmed("mine", "memory")
        results = await queue.publish_many([1, Envelope(body=2)], publish_timeout=5)
        assert all(isinstance(result, Confirmed) for result in results)
        assert (await queue.depth()).delayed == 1
        assert (await queue.info())["message_count"] == 3
        assert [message.body for message in await queue.peek(1, after=1)] == [b"2"]
        assert await queue.remove([(await queue.peek())[0].id]) == 1
        assert await queue.purge() == 2
    with pytest.raises(LifecycleError):
        await queue.publish(1)


async def test_the_decorators_work_with_and_without_parentheses(make_app: Callable[..., App]) -> None:
    app = make_app()
    queue = app.queue("tasks")

    @queue.consumer
    async def bare(body: int, context: Context) -> int:
        return await context.call("app:double", body)  # type: ignore[no-any-return]

    @app.function
    async def double(number: int) -> int:
        return number * 2

    @app.queue("others").consumer()
    async def called(body: int) -> int:
        return body + 1

    assert (await double(2), await called(2)) == (4, 3), "they stay as they are"
    async with app.worker():
        assert await queue.request(4) == 8
        assert await app.queue("others").request(4) == 5
    with pytest.raises(TypeError, match=r"takes options by name only, as in consumer\(name='mine'\)"):
        queue.consumer("mine")  # type: ignore[call-overload]  # the mistake
