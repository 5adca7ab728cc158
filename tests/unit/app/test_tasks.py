"""Tasks of an app in code: declared by a decorator, sent by calls, handled by one consumer of their queue."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tasuki import App, Context, Reject, Retries, Task
from tasuki.errors import BodyTypeError, InvalidEntryError, ProjectError
from tasuki.kinds.entries.consumer import ConsumerConfig

pytestmark = pytest.mark.anyio
VIRTUAL_TIME = True

Make = Callable[..., App]


@dataclass
class Receipt:
    number: int


@dataclass
class Shop:
    """An app with three tasks, which keep what they are called with."""

    app: App
    send: Any
    pay: Any
    check: Any
    done: list[Any]


@pytest.fixture
async def shop(make_app: Make) -> Shop:
    app = make_app()
    done: list[Any] = []
    jobs = app.queue("jobs", dead_letter="jobs.dead", retry={"initial_delay": "1s", "jitter": 0})

    @jobs.task
    async def send(url: str, as_json: bool = False) -> None:
        done.append(("send", url, as_json))

    @jobs.task(name="pay.now", retry=Retries(2, on=(ValueError,), backoff="10s"), handler_timeout="30s")
    def pay(context: Context, amount: int) -> Receipt:
        done.append(("pay", amount, context.attempt))
        if amount < 0:
            raise ValueError("negative")
        return Receipt(amount)

    @jobs.task()
    async def check() -> str:
        return "checked"

    return Shop(app, send, pay, check, done)


async def test_one_consumer_has_all_tasks_of_a_queue(shop: Shop) -> None:
    shop.app.queue("jobs").task_consumer(concurrency=4, lifecycle={"stop_timeout": "1m"})
    (config,) = shop.app.check().of(ConsumerConfig).values()
    assert shop.app.check().of(ConsumerConfig).keys() == {"app:jobs.workers"}
    assert {name: task.func for name, task in config.funcs.items()} == {
        "send": "app:jobs.task.send",
        "pay.now": "app:jobs.task.pay.now",
        "check": "app:jobs.task.check",
    }
    pay = config.funcs["pay.now"]
    assert pay.retry is not None
    assert (pay.retry.max_attempts, pay.retry.on, pay.retry.initial_delay, pay.retry.max_delay) == (
        *(2, ["builtins.ValueError"]),
        *(10, 90),
    )
    assert (pay.handler_timeout, config.concurrency, config.lifecycle.stop_timeout) == (30, 4, 60)
    assert config.lifecycle.auto_start


async def test_a_call_arrives_with_its_arguments(shop: Shop) -> None:
    async with shop.app.worker():
        await shop.send.publish("a")
        await shop.send.publish("b", as_json=True)
        assert await shop.pay.request(5) == Receipt(5)
        assert await shop.check.request() == "checked"
    assert shop.done == [("send", "a", False), ("send", "b", True), ("pay", 5, 1)]


async def test_on_the_wire_it_is_a_plain_message(shop: Shop) -> None:
    async with shop.app:
        await shop.send.with_options(headers={"tenant": "x"}, key="k").publish("a")
        (message,) = await shop.app.queue("jobs").peek()
        assert message.body == b'{"url":"a"}'
        assert message.headers.items() >= {"message_type": "send", "tenant": "x", "partition_key": "k"}.items()
    async with shop.app.worker():
        await shop.app.queue("jobs").publish({"url": "b", "as_json": True}, {"message_type": "send"})
        await asyncio.sleep(1)
    assert ("send", "b", True) in shop.done


async def test_options_add_up_and_leave_the_task_as_it_is(shop: Shop) -> None:
    later = shop.send.with_options(delay=timedelta(minutes=1)).with_options(priority=3)
    call = later.message("a")
    assert (call.body, call.headers) == ({"url": "a"}, {"message_type": "send"})
    assert (call.delay, call.priority) == (timedelta(minutes=1), 3)
    assert (shop.send.message("a").delay, shop.send.message("a").priority) == (0, None)
    with pytest.raises(TypeError, match=r"message\(…\) has no option 'publish_timeout'"):
        shop.send.with_options(publish_timeout=1).message("a")
    async with shop.app.worker():
        results = await shop.app.queue("jobs").publish_many([shop.send.message(f"{n}") for n in range(3)])
        assert len(results) == 3
        await asyncio.sleep(1)
    assert [url for _, url, _ in shop.done] == ["0", "1", "2"]


async def test_a_call_that_does_not_fit_sends_nothing(shop: Shop) -> None:
    async with shop.app:
        with pytest.raises(BodyTypeError, match=r"^send.publish\(…\) lacks parameter 'url' \(str\); nothing was sent"):
            await shop.send.publish()
        with pytest.raises(BodyTypeError, match=r"^pay.now.request\(…\) cannot take this str as parameter 'amount'"):
            await shop.pay.request("5")
        with pytest.raises(BodyTypeError, match=r"^send.message\(…\) has no parameter 'uri'"):
            shop.send.message(uri="x")
        with pytest.raises(BodyTypeError, match=r"^pay.now.publish\(…\) takes 1 arguments by position, not 2"):
            await shop.pay.publish(None, 5)
        assert (await shop.app.queue("jobs").depth()).ready == 0


async def test_the_function_itself_stays(shop: Shop) -> None:
    assert await shop.check() == "checked"
    assert shop.check.__name__ == "check"
    assert isinstance(shop.pay, Task)
    assert (shop.pay.name, shop.pay.queue, shop.pay.function.__name__) == ("pay.now", "app:jobs", "pay")
    assert repr(shop.pay) == "<task pay.now of app:jobs>"
    await shop.send("x")
    assert shop.done == [("send", "x", False)]


async def test_giving_up_calls_with_the_arguments_and_the_error(make_app: Make) -> None:
    app, seen = make_app(), []
    jobs = app.queue("jobs", dead_letter="jobs.dead")

    async def clean(error: Exception, url: str, as_json: bool, log: logging.LoggerAdapter[Any]) -> None:
        log.warning("gone")
        seen.append((str(error), url, as_json))

    @jobs.task(on_give_up=clean)
    def send(url: str, as_json: bool = False) -> None:
        raise Reject("no such address")

    async with app.worker():
        await send.publish("a")
        while not (await app.queue("jobs.dead").depth()).ready:
            await asyncio.sleep(0.1)
    assert seen == [("no such address", "a", False)]


async def test_a_task_may_have_the_name_of_its_queue_and_stand_on_two_queues(make_app: Make) -> None:
    app, done = make_app(), []
    mails, notes = app.queue("mails"), app.queue("notes")

    def mails_(text: str) -> None:
        done.append(text)

    first, second = mails.task(name="mails")(mails_), notes.task(name="mails")(mails_)
    async with app.worker():
        await first.publish("a")
        await second.publish("b")
        await asyncio.sleep(1)
    assert sorted(done) == ["a", "b"]


async def test_a_task_may_be_called_like_the_last_part_of_its_dead_letter_queue(make_app: Make) -> None:
    app, done = make_app(), []
    jobs = app.queue("jobs", dead_letter="jobs.dead")

    async def forget() -> None: ...

    @jobs.task(on_give_up=forget)
    async def dead(n: int) -> None:
        done.append(n)

    entries = app.check().registry.entries
    assert (entries["app:jobs.dead"].kind, entries["app:jobs.task.dead"].kind) == ("queue.queue", "function.python")
    assert "app:jobs.task.dead.on_give_up" in entries
    async with app.worker():
        await dead.publish(1)
        await asyncio.sleep(1)
    assert done == [1]


async def test_two_tasks_of_one_name_are_refused(make_app: Make) -> None:
    jobs = make_app().queue("jobs")
    jobs.task(name="send")(lambda: None)
    with pytest.raises(
        InvalidEntryError, match=r"test_tasks.py:\d+: app:jobs.workers: queue 'app:jobs' has a task"
    ) as e:
        jobs.task(name="send")(lambda: None)
    assert "declared at" in str(e.value)
    assert "another name" in str(e.value)


async def test_workers_have_their_options_once(make_app: Make) -> None:
    jobs = make_app().queue("jobs")
    assert jobs.task_consumer(concurrency=4) == "app:jobs.workers"
    with pytest.raises(InvalidEntryError, match="the workers of this queue have their options already"):
        jobs.task_consumer(prefetch=4)


def problems(app: App) -> list[str]:
    with pytest.raises(ProjectError) as refused:
        app.check()
    return [str(error) for error in refused.value.errors]


async def test_the_check_reports_a_body_that_the_queue_does_not_take_at_its_line(make_app: Make) -> None:
    app = make_app()
    app.queue("typed", Receipt).task(name="any")(lambda: None)
    (body,) = problems(app)
    assert "queue 'app:typed' takes Receipt" in body
    assert "test_tasks.py:" in body


async def test_a_wrong_rule_of_one_task_hides_and_invents_no_problem_of_the_others(make_app: Make) -> None:
    app = make_app()
    jobs = app.queue("jobs")
    jobs.task(retry=3)(lambda: None)  # type: ignore[call-overload]  # the mistake
    jobs.task(_two)
    jobs.task(_stars)
    with pytest.raises(ProjectError) as caught:
        app.check()
    said = "\n".join(map(str, caught.value.errors))
    assert "retry must be a mapping, not the number 3" in said
    assert "a task cannot take *args" in said
    assert "cannot inject" not in said


async def test_a_consumer_of_bodies_and_tasks_need_queues_of_their_own(make_app: Make) -> None:
    app = make_app()
    jobs = app.queue("jobs")
    jobs.task(name="send")(lambda: None)

    @jobs.consumer
    def handle(body: int) -> None: ...

    (text,) = problems(app)
    assert "it takes messages of queue 'app:jobs' too, whose tasks belong to 'app:jobs.workers'" in text


def test_retries_say_what_the_entry_says() -> None:
    assert Retries().fields() == {"on": [], "never": [], "initial_delay": 1.0, "max_delay": 90.0}
    assert Retries(3, on=(OSError, "Timeout"), never=(asyncio.QueueEmpty,), backoff="5m", max_delay="1h").fields() == {
        "max_attempts": 3,
        "on": ["builtins.OSError", "Timeout"],
        "never": ["asyncio.queues.QueueEmpty"],
        "initial_delay": "5m",
        "max_delay": "1h",
    }
    assert Retries(backoff="5m").fields()["max_delay"] == 300


async def test_only_functions_are_decorated(make_app: Make) -> None:
    with pytest.raises(TypeError, match="options by name only, as in task"):
        make_app().queue("jobs").task("send")  # type: ignore[call-overload]


async def test_a_reload_keeps_the_workers_and_takes_the_new_tasks(make_app: Make) -> None:
    app, done = make_app(), []
    jobs = app.queue("jobs")

    @jobs.task
    def first(n: int) -> None:
        done.append(("first", n))

    async with app.worker():
        await first.publish(1)

        @jobs.task
        def second(n: int) -> None:
            done.append(("second", n))

        await app.reload()
        await second.publish(2)
        await first.publish(3)
        async with asyncio.timeout(60):
            while len(done) < 3:
                await asyncio.sleep(0.1)
    assert sorted(done) == [("first", 1), ("first", 3), ("second", 2)]


def test_from_sync_code(tmp_path: Path) -> None:
    app = App("memory://", root=tmp_path)
    jobs = app.queue("jobs")

    @jobs.task
    def echo(text: str) -> str:
        return text

    echo.send("sent")
    with pytest.raises(BodyTypeError, match=r"^echo.send\(…\) lacks parameter 'text'"):
        echo.send()  # type: ignore[call-arg]
    assert app.sync.queue(jobs).info()["ready"] == 1
    app.sync.close()


def _two(url: str, depth: int) -> None: ...


def _stars(*args: str) -> None: ...
