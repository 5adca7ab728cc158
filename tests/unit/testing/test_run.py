"""``t.run``: one call of a handler, a task or a handler of batches, without a queue."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, assert_type

import pytest

from tasuki import App, Context, Message
from tasuki.errors import BodyTypeError, HandlerError, HandlerNotFoundError
from tasuki.testing import TestApp

pytestmark = pytest.mark.anyio


@dataclass
class Mail:
    to: str


def application(root: Path) -> tuple[App, list[Any]]:
    return App("redis://localhost:1", root=root), []


async def test_a_task_with_its_arguments(tmp_path: Path) -> None:
    app, seen = application(tmp_path)
    jobs, notes = app.queue("jobs"), app.queue("notes")

    @jobs.task(name="fetch it")
    async def fetch(context: Context, mail: Mail, *, as_json: bool = False) -> int:
        seen.append((context.queue, context.delivery.consumer, context.delivery.function, context.attempt))
        seen.append((context.message and context.message.headers, mail, as_json))
        await notes.publish(mail.to)
        return len(mail.to)

    async with TestApp(app) as t:
        length = await t.run(fetch, Mail("ada"), as_json=True)
        assert_type(length, int)
        assert length == 3
        assert await t.run(fetch.with_options(headers={"tenant": "a"}), Mail("b")) == 1
        with pytest.raises(BodyTypeError, match="has no parameter 'as_jsn'"):
            await t.run(fetch, Mail("b"), as_jsn=True)  # type: ignore[call-arg]
        assert (
            await t.run("jobs.task.fetch-it-71b2217e", {"mail": {"to": "c"}}, {"message_type": "fetch it"}, attempt=3)
            == 1
        )
        assert t.published(notes) == ["ada", "b", "c"]
        assert t.published(jobs) == []
        other = App("memory://").queue("other").task(name="fetch it")(lambda: None)
        with pytest.raises(HandlerNotFoundError, match="<task fetch it of app:other> is no task of this app"):
            await t.run(other)
    place = ("app:jobs", "app:jobs.workers", "app:jobs.task.fetch-it-71b2217e")
    assert [each[:3] for each in seen[::2]] == [place] * 3
    assert [each[3] for each in seen[::2]] == [1, 1, 3]
    assert [each[1:] for each in seen[1::2]] == [(Mail("ada"), True), (Mail("b"), False), (Mail("c"), False)]
    assert seen[3][0] == {"tenant": "a", "message_type": "fetch it"}


def test_a_task_from_a_test_without_a_loop(tmp_path: Path) -> None:
    app, seen = application(tmp_path)

    @app.queue("jobs").task
    def fail(n: int) -> None:
        seen.append(n)
        raise ValueError("no")

    with TestApp(app) as t:
        with pytest.raises(ValueError, match="no"):
            t.sync.run(fail, 5)
        assert seen == [5]


async def test_a_handler_of_batches_with_a_list(tmp_path: Path) -> None:
    app, seen = application(tmp_path)

    @app.queue("mails").consumer(batch={"size": 10})
    async def send(mails: list[Mail], messages: list[Message], context: Context, log: logging.Logger) -> list[Any]:
        seen.append((mails, [message.body for message in messages], context.attempt, context.message))
        assert [each.attempt for each in context.batch] == [context.attempt] * len(mails)
        return [ValueError if mail.to == "bad" else mail.to for mail in mails]

    async with TestApp(app) as t:
        good, bad = await t.run(send, [Mail("ada"), {"to": "bad"}], attempt=2)
        assert good == "ada"
        assert isinstance(bad, ValueError)
        assert seen == [([Mail("ada"), Mail("bad")], [b'{"to":"ada"}', b'{"to":"bad"}'], 2, None)]
        assert await t.run("send", []) == []
        with pytest.raises(HandlerError, match=r"send\.consumer calls app:send with a batch: give t\.run the list"):
            await t.run(send, Mail("ada"))


async def test_settling_counts_once_as_in_a_delivery(tmp_path: Path) -> None:
    app, _ = application(tmp_path)
    verbs: list[Callable[[Context], None]] = [
        Context.ack,
        lambda context: context.nack("5s"),
        Context.reject,
        lambda context: context.snooze("5s"),
    ]

    @app.queue("one").consumer
    async def one(body: int, context: Context) -> None:
        verbs[body](context)
        Context.ack(context)

    @app.queue("many").consumer(batch={"size": 10})
    async def many(bodies: list[int], context: Context) -> None:
        for each, body in zip(context.batch[1:], bodies[1:], strict=True):
            verbs[body](each)
        context.ack()  # the first one is left
        context.ack()

    async with TestApp(app) as t:
        for body in range(len(verbs)):
            with pytest.raises(HandlerError, match="already settled"):
                await t.run(one, body)
        with pytest.raises(HandlerError, match="already settled"):
            await t.run(many, [0, *range(len(verbs))])
