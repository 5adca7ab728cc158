"""Pause, resume and scale of an app: names, rights, displays, and when a run ends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tasuki import App
from tasuki.app.health.health_file import PERIOD
from tasuki.app.lifecycle.running import wait_until_empty
from tasuki.errors import ConfigError
from tests.support.narrow import present
from tests.unit.app.pulse import document, pulsing, texts

pytestmark = pytest.mark.anyio
VIRTUAL_TIME = True

MakeApp = Callable[..., App]
handled: list[Any] = []


@pytest.fixture
def app(make_app: MakeApp) -> App:
    handled.clear()
    app = make_app()
    mails, other = app.queue("mails", queue_name="outbox"), app.queue("other")

    @mails.consumer(name="sender", concurrency=2)
    async def handle_mail(body: Any) -> None:
        handled.append(body)

    @other.consumer(name="other-one")
    async def handle(body: Any) -> None:
        handled.append(body)

    return app


async def test_names_are_ids_names_and_handles(app: App) -> None:
    async with app:
        for name in ("mails", "app:mails"):
            await app.workers.pause(name, reason="x", actor="kana")
            assert (await app._runtime.queue("mails").info())["paused"]["reason"] == "x"
            assert present(await app.workers.resume(name)).actor == "kana"
        assert await app.workers.resume("mails") is None
        await app.workers.pause("sender", "10m")
        assert "paused" not in await app._runtime.queue("mails").info()


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("mailz", "queue, consumer or schedule 'mailz' is not defined; did you mean 'mails'"),
        ("send", "queue, consumer or schedule 'send' is not defined; did you mean"),
    ],
)
async def test_unknown_names_are_told_with_near_ones(app: App, name: str, problem: str) -> None:
    async with app:
        with pytest.raises(ConfigError, match=problem):
            await app.workers.pause(name)
        with pytest.raises(ConfigError, match="consumer 'mails' is not defined"):
            await app.workers.scale("mails", 3)


TWO = """\
version: "1.0"
namespace: NAMESPACE
entries:
  - {name: driver, kind: queue.driver.memory}
  - {name: mails, kind: queue.queue, driver: driver}
"""


async def test_a_name_of_two_is_refused(tmp_path: Path) -> None:
    for namespace in ("shop", "blog"):
        (tmp_path / f"{namespace}.yaml").write_text(TWO.replace("NAMESPACE", namespace))
    async with App.load(tmp_path) as app:
        with pytest.raises(ConfigError, match=r"several .* called 'mails': blog:mails, shop:mails"):
            await app.workers.pause("mails")
        await app.workers.pause("shop:mails")
        assert "paused" not in await app._runtime.queue("blog:mails").info()


@pytest.mark.parametrize("concurrency", [-1, 1001])
async def test_scale_has_bounds(app: App, concurrency: int) -> None:
    async with app:
        with pytest.raises(ValueError, match=f"concurrency must be 0 \\(paused\\) to 1000, not {concurrency}"):
            await app.workers.scale("sender", concurrency)


async def test_workers_obey_and_say_so_in_health(app: App, tmp_path: Path) -> None:
    file = tmp_path / "health"
    async with pulsing(app, file):
        await app.workers.pause("mails", reason="429", actor="kana")
        await app.workers.scale("other-one", 7, actor="kana")
        await app.publish("mails", 1)
        await asyncio.sleep(PERIOD * 10)
        found = document(file)
        assert (found["live"], found["ready"]) == (True, True), "a pause is no failure"
        assert "consumer app:sender: paused until it is resumed, by kana: 429" in texts(found, "ok")
        assert found["consumers"]["app:sender"]["paused"]["actor"] == "kana"
        assert found["consumers"]["app:other-one"]["concurrency"] == 7
        assert not handled
        await app.workers.resume("mails")
        await asyncio.sleep(PERIOD * 2)
        assert not any("paused" in text for text in texts(document(file), "ok"))
        assert handled == [1]


async def test_until_empty_leaves_a_paused_queue_and_says_so(app: App, caplog: pytest.LogCaptureFixture) -> None:
    async with app:
        await app.publish("mails", 1)
        await app.publish("other", 2)
        await app.workers.pause("mails", actor="kana")
        await _run(app)
    assert handled == [2]
    assert "queue app:mails keeps 1 messages: it is paused until it is resumed, by kana" in caplog.text


async def _run(app: App) -> None:
    await app.start()
    await wait_until_empty(lambda: app._runtime.assembly)


async def test_until_empty_waits_for_a_pause_that_ends(app: App) -> None:
    async with app:
        await app.publish("mails", 1)
        await app.workers.pause("mails", "10m")
        await _run(app)
    assert handled == [1]
