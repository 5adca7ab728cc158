"""While workers of two versions run, a message of the new version that comes to an old worker waits for a new one."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest

from tasuki import App

pytestmark = pytest.mark.anyio


def version(folder: Path, number: int, seen: list[tuple[int, str]]) -> App:
    app = App(f"sqlite:///{folder / 'queue.db'}", root=folder)
    jobs = app.queue("jobs", dead_letter={"queue": "jobs.dead", "max_attempts": 1000})
    if number == 1:

        @jobs.task
        def send(to: int) -> None:
            seen.append((to, "old"))
    else:

        @jobs.task(name="send")
        def send_with(to: int, subject: str = "") -> None:
            seen.append((to, subject))

        @jobs.task
        def added(to: int) -> None:
            seen.append((to, "added"))

    jobs.task_consumer(retry={"initial_delay": "20ms", "max_delay": "50ms"})
    return app


async def until_failed(app: App, least: int) -> None:
    consumer = app._runtime.live().consumers["app:jobs.workers"]
    async with asyncio.timeout(60):
        while consumer.metrics.failed < least:
            await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    ("body", "name", "handled", "text"),
    [
        (
            {"to": 1, "subject": "new"}, "send", (1, "new"),
            "the task has no parameter 'subject'; its arguments here are (to: int); retried, as a worker of another "
            "version may know it",
        ),
        (
            {"to": 2}, "added", (2, "added"),
            "this consumer has no task 'added'; it has send; retried, as a worker of another version may know it",
        ),
    ],
    ids=["argument", "task"],
)  # fmt: skip
async def test_an_old_worker_retries_what_a_new_one_knows(
    body: dict[str, object], name: str, handled: tuple[int, str], text: str, tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    seen: list[tuple[int, str]] = []
    with caplog.at_level(logging.WARNING):
        async with version(tmp_path, 1, seen).worker() as old:
            await old.publish("jobs", body, {"message_type": name})
            await until_failed(old, 3)
    assert text in caplog.text
    assert "retried in" in caplog.text
    async with version(tmp_path, 2, seen).worker() as new:
        async with asyncio.timeout(60):
            while not seen:
                await asyncio.sleep(0.01)
        assert (await new._runtime.queue("jobs.dead").depth()).ready == 0
    assert seen == [handled]


@pytest.mark.parametrize(
    "body", [{"to": "x"}, {}, {"to": {"n": 1}}, [1]], ids=["type", "missing", "nested", "no arguments"]
)
async def test_other_arguments_that_do_not_fit_are_given_up_at_once(body: object, tmp_path: Path) -> None:
    async with version(tmp_path, 1, []).worker() as app:
        await app.publish("jobs", body, {"message_type": "send"})
        dead = app._runtime.queue("jobs.dead")
        async with asyncio.timeout(60):
            while not (letters := await dead.peek()):
                await asyncio.sleep(0.01)
    assert (letters[0].headers["x_dead_letter_reason"], letters[0].headers["attempts"]) == ("invalid", 1)
