"""A call of a task that is published wrongly is refused, however it is written; nothing is stored."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from tasuki import App, Envelope, QueueHandle, Task
from tasuki.errors import CodecError, PublishError
from tasuki.queues.result import Rejected

pytestmark = pytest.mark.anyio
VIRTUAL_TIME = True


class Shop:
    def __init__(self) -> None:
        self.app = App("memory://")
        self.jobs = self.app.queue("jobs")
        self.others = self.app.queue("others")
        self.done: list[str] = []
        self.mail: Task[Any, Any, Any, Any] = self.jobs.task(self._mail(), )  # fmt: skip

        @self.others.consumer
        def work(body: dict[str, Any]) -> None:
            self.done.append(body["to"])

    def _mail(self) -> Any:
        async def mail(to: str) -> str:
            self.done.append(to)
            return to

        return mail


@pytest.fixture
def shop() -> Shop:
    return Shop()


async def refused(queue: QueueHandle[Any], *items: Any) -> list[str]:
    """Why each item is refused, by publish_many; none of them is stored."""
    results = await queue.publish_many(items)
    assert all(isinstance(each, Rejected) for each in results), results
    assert (await queue.depth()).ready == 0
    return [str(each.error) for each in results if isinstance(each, Rejected)]


async def test_a_body_without_a_task_is_refused(shop: Shop) -> None:
    says = r"queue 'app:jobs' takes calls of tasks \(mail\), and this message names none; .*await mail.publish\(…\)"
    async with shop.app:
        with pytest.raises(PublishError, match=says):
            await shop.jobs.publish({"to": "ada"})
        with pytest.raises(PublishError, match=says):
            await shop.app.request("jobs", {"to": "ada"})
        with pytest.raises(PublishError, match=says):
            await shop.app.group([shop.mail.message("ada")], then=shop.jobs)
        assert len(await refused(shop.jobs, {"to": "ada"}, Envelope(body={"to": "ada"}))) == 2
        await shop.jobs.publish({"to": "ada"}, {"message_type": "mail"})


async def test_a_body_that_names_no_task_passes_where_a_function_takes_it() -> None:
    app = App("memory://")
    jobs = app.queue("jobs")
    fields = {"queue": jobs.id, "func": "app:any", "funcs": {"mail": "app:send"}}

    @app.function("any")
    def any_(body: Any) -> None: ...

    @app.function("send")
    def send(to: str) -> None: ...

    app.entry("work", "queue.consumer", fields)
    async with app:
        await jobs.publish({"to": "ada"})


async def test_a_planned_message_or_an_envelope_is_no_body(shop: Shop) -> None:
    says = r"the body is an? (Planned|Envelope) itself, .*write publish_many\(\[…\]\)"
    async with shop.app:
        bodies: list[Any] = [shop.mail.message("ada"), Envelope(body={}), shop.others.message({"to": "ada"})]
        for body in bodies:
            for queue in (shop.jobs, shop.others):
                with pytest.raises(PublishError, match=says):
                    await queue.publish(body, {"message_type": "mail"})
                assert "itself" in (await refused(queue, Envelope(body=body)))[0]


async def test_a_message_as_peek_shows_it_is_no_body(shop: Shop) -> None:
    async with shop.app:
        await shop.others.publish({"to": "ada"})
        [waiting] = await shop.others.peek()
        with pytest.raises(PublishError, match=r"the body is a Message itself, as peek and handlers show it"):
            await shop.others.publish(waiting)


@pytest.mark.parametrize("items", [{"to": "ada"}, "ada", b"ada"])
async def test_one_body_in_the_place_of_a_list_is_refused(shop: Shop, items: Any) -> None:
    """Its keys or letters would be stored, one message each."""
    async with shop.app:
        with pytest.raises(TypeError, match=f"a list of bodies, not a {type(items).__name__}: write publish"):
            await shop.others.publish_many(items)
        assert await shop.others.peek() == []


async def test_a_class_is_no_body(shop: Shop) -> None:
    async with shop.app:
        with pytest.raises(CodecError, match=r"a body cannot carry the class Shop itself; write Shop\(…\)"):
            await shop.others.publish(Shop)


async def test_a_time_as_a_delay_is_answered_with_at(shop: Shop) -> None:
    async with shop.app:
        with pytest.raises(PublishError, match=r"delay: 2030-01-01 .* is a time, not a duration; write at=datetime"):
            await shop.others.publish({}, delay=cast("Any", datetime(2030, 1, 1, tzinfo=UTC)))


async def test_a_call_that_has_not_run_is_no_body(shop: Shop) -> None:
    async with shop.app:
        [said] = await refused(shop.jobs, shop.mail("ada"))
        assert "the body is the coroutine of a call" in said
        assert "for a task write" in said
        assert "mail.message(…)" in said


async def test_a_message_of_a_task_is_accepted_wherever_messages_are(shop: Shop) -> None:
    async with shop.app.worker():
        both = [shop.mail.message("many"), shop.mail.with_options(key="k").message("b")]
        results = await shop.jobs.publish_many(both)
        assert all(not isinstance(each, Rejected) for each in results)
        await shop.app.group([shop.mail.message("one")], then=shop.mail.message("then"))
        await shop.mail.with_options(then=shop.mail.message("after")).publish("first")
        await shop.others.publish_many([shop.others.message({"to": "other"})])
        await asyncio.sleep(5)
    assert sorted(shop.done) == ["after", "b", "first", "many", "one", "other", "then"]


async def test_publish_many_takes_messages_of_its_own_queue_that_nothing_follows(shop: Shop) -> None:
    async with shop.app:
        assert "is of queue 'app:jobs', not of 'app:others'" in (await refused(shop.others, shop.mail.message("a")))[0]
        followed = shop.mail.with_options(then=shop.mail.message("b")).message("a")
        assert "takes no message with then or on_error" in (await refused(shop.jobs, followed))[0]
        assert "use it as then or on_error" in (await refused(shop.jobs, shop.mail.filled()))[0]
