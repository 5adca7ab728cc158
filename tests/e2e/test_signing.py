"""Signed bodies from end to end: forged work on a shared broker never reaches the handler."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tasuki import App
from tasuki.clock import SystemClock
from tasuki.contracts.driver import Outgoing, QueueSpec
from tasuki.drivers.sqlite.driver import SQLiteDriver
from tasuki.drivers.sqlite.settings import SQLiteSettings
from tasuki.errors import ProjectError
from tests.e2e.projects import eventually, write
from tests.support.settings import parsed

pytestmark = pytest.mark.anyio

SECRET = "a-secret-that-is-never-shown"
PROJECT = """\
version: "1.0"
namespace: app
entries:
  - {name: db, kind: queue.driver.sqlite, path: work.db}
  - name: tasks
    kind: queue.queue
    driver: db
    dead_letter: dead
    signing:
      keys:
        - {id: "2026", secret: "${env:KEY}"}
  - {name: dead, kind: queue.queue, driver: db}
  - {name: work, kind: function.python, source: "file://work.py", method: work}
  - {name: worker, kind: queue.consumer, queue: tasks, func: work, lifecycle: {auto_start: true}}
"""
WORK = """\
def work(body):
    with open({log!r}, "a") as log:
        log.write(body + "\\n")
"""


def project(folder: Path) -> Path:
    return write(folder, {"app.yaml": PROJECT, "work.py": WORK.format(log=str(folder / "handled"))})


async def forge(folder: Path, *messages: Outgoing) -> None:
    """Publish as a client that can reach the broker but has no key."""
    driver = SQLiteDriver("raw", parsed(SQLiteSettings, path=folder / "work.db"), SystemClock())
    await driver.declare(QueueSpec("tasks"))
    await driver.open()
    results = await driver.publish("tasks", messages)
    assert not any(results or ())
    await driver.close()


async def test_forged_messages_are_dead_letters_and_stay_so_when_they_are_sent_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("KEY", SECRET)
    folder = project(tmp_path)
    handled = folder / "handled"
    async with App.load(folder) as app:
        await app.publish("app:tasks", "good")
        (good,) = await app._runtime.queue("app:tasks").peek()
    stolen = Outgoing("stolen", b'"stolen"', dict(good.headers))
    await forge(folder, Outgoing("bare", b'"bare"', {}), stolen)
    async with App.load(folder).worker() as app:
        dead = app._runtime.queue("app:dead")
        while (await dead.depth()).ready < 2 or not handled.exists():
            await asyncio.sleep(0.01)
        assert {(m.id, m.headers["x_dead_letter_reason"]) for m in await dead.peek()} == {
            ("bare", "unsigned"),
            ("stolen", "unsigned"),
        }
        assert await app.dead.redrive("app:dead") == 2
        await eventually(lambda: caplog.text.count("(unsigned)") == 4)
    assert handled.read_text() == "good\n"
    assert SECRET not in caplog.text


@pytest.mark.parametrize("keys", ["[]", "[{id: a, secret: 'tiny-canary'}]", "[{id: a, secret: 987654}]"])
async def test_bad_keys_are_refused_and_not_shown(tmp_path: Path, keys: str) -> None:
    text = PROJECT.replace('\n        - {id: "2026", secret: "${env:KEY}"}', f" {keys}")
    folder = write(tmp_path, {"app.yaml": text, "work.py": WORK.format(log="x")})
    with pytest.raises(ProjectError) as info:
        async with App.load(folder):
            pass
    assert "signing.keys" in str(info.value)
    assert "tiny-canary" not in str(info.value)
    assert "987654" not in str(info.value)
