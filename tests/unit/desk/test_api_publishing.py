"""Publishing over HTTP: at its own rate, checked as any publish is, and the result fetched by its id."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tasuki import App
from tasuki.desk.security.access import Access
from tests.unit.desk.browser import Browser
from tests.unit.desk.conftest import MakeBrowser
from tests.unit.desk.test_api import Program

pytestmark = pytest.mark.anyio


@dataclass
class Mail:
    to: str


@pytest.fixture
async def app(tmp_path: Path) -> AsyncIterator[App]:
    """An open app whose consumers do not run: a typed queue, tasks, a typed handler, and one with middleware."""
    app = App("memory://", root=tmp_path)
    app.queue("typed", Mail)
    tasks = app.queue("tasks")
    handled = app.queue("handled")
    sums = app.queue("sums", result="1h", dead_letter={"queue": "dead", "max_attempts": 1})
    app.queue("dead")
    tasks.task_consumer(lifecycle={"auto_start": False})

    @tasks.task
    async def fetch(url: str) -> None: ...

    @handled.consumer(lifecycle={"auto_start": False})
    async def handle(mail: Mail) -> None: ...

    @sums.consumer
    async def add(numbers: list[int]) -> dict[str, Any]:
        if not numbers:
            raise ValueError("nothing to add")
        return {"total": sum(numbers), "big": 2**60, "password": "hunter2"}

    async with app.worker():
        yield app


@pytest.fixture
def program(browse: MakeBrowser) -> Program:
    return Program(browse(actor="kana").client)


@pytest.mark.parametrize("rate", [100.0, 250.0, 0.5])
async def test_publishing_has_a_rate_of_its_own(
    app: App, browse: Callable[..., Browser], one_moment: None, rate: float
) -> None:
    client = browse(publish_rate=rate).client
    burst = max(20, int(rate))

    async def publish() -> int:
        answer = await client.post("/api/v1/queues/app:typed/publish", json={"body": {"to": "ada"}})
        return answer.status_code

    statuses = [await publish() for _ in range(burst + 5)]
    paused: httpx.Response = await client.post("/api/v1/queues/app:typed/pause", json={})

    assert statuses == [200] * burst + [429] * 5
    assert paused.status_code == 200  # the other acts have theirs
    assert (await app._runtime.queue("typed").depth()).ready == burst


@pytest.mark.parametrize("rate", [0, -1, 2_000_000, float("nan")])
def test_a_rate_out_of_bounds_is_refused(rate: float) -> None:
    with pytest.raises(ValueError, match="the rate of publishing must be above 0 and at most 1,000,000 a second"):
        Access(is_open=True, publish_rate=rate)


async def test_a_body_of_another_type_is_refused(app: App, program: Program) -> None:
    typed = await program.post("/queues/app:typed/publish", 400, body={"to": 5})
    handled = await program.post("/queues/app:handled/publish", 400, body={"to": 5})
    argument = await program.post("/queues/app:tasks/publish", 400, body={"url": 5}, headers={"message_type": "fetch"})
    unknown = await program.post("/queues/app:tasks/publish", 400, body={"url": "u"}, headers={"message_type": "fech"})
    none = await program.post("/queues/app:tasks/publish", 400, body={"url": "u"})

    assert {each["code"] for each in (typed, handled, argument, unknown, none)} == {"not_valid"}
    assert "Expected `str`, got `int`" in typed["detail"]
    assert handled["problems"][0]["field"] == "body"
    assert "url" in argument["detail"]
    assert "did you mean" in unknown["detail"]
    assert "it must be one of fetch" in none["detail"]
    for queue in ("typed", "handled", "tasks"):
        assert (await app._runtime.queue(queue).depth()).ready == 0
    await program.post("/queues/app:typed/publish", body={"to": "ada"})
    await program.post("/queues/app:handled/publish", body={"to": "ada"})
    await program.post("/queues/app:tasks/publish", body={"url": "u"}, headers={"message_type": "fetch"})


async def test_the_result_of_a_message_is_fetched_by_its_id(app: App, program: Program) -> None:
    sent = await program.post("/queues/app:sums/publish", body=[1, 2], id="a")
    await app.jobs.get("a", queue="sums").result("30s")
    done = await program.get("/messages/app:sums/a/result")

    assert sent["message"] == "a"
    assert (done["id"], done["queue"], done["status"], done["attempt"]) == ("a", "app:sums", "done", 1)
    assert done["value"]["value"] == {"total": 3, "big": 2**60, "password": "***"}
    assert (done["error"], done["kind"], done["reason"]) == ("", "", "")


async def test_a_result_that_is_not_there_says_why(app: App, program: Program) -> None:
    await program.post("/queues/app:sums/publish", body=[], id="bad")
    await program.post("/queues/app:sums/publish", body=[1], id="late", delay="1h")
    with pytest.raises(Exception, match="nothing to add"):
        await app.jobs.get("bad", queue="sums").result("30s")
    while (await app._runtime.queue("dead").depth()).ready == 0:
        await asyncio.sleep(0)

    failed = await program.get("/messages/app:sums/bad/result")
    late = await program.get("/messages/app:sums/late/result")
    never = await program.get("/messages/app:sums/never/result", 404)
    keeps_none = await program.get("/messages/app:typed/a/result", 409)

    assert (failed["status"], failed["value"], failed["reason"]) == ("dead", None, "max_attempts")
    assert "ValueError: nothing to add" in failed["error"]
    assert (late["status"], late["value"], late["at"]) == ("delayed", None, None)
    assert "its time is over" in never["detail"]
    assert keeps_none["code"] == "unsupported"
    assert "write result: 1h at it" in keeps_none["detail"]
