"""Reloading providers and hooks: handlers that run keep theirs, new messages take the new ones."""

from __future__ import annotations

import asyncio

import pytest

from tasuki import App
from tests.unit.app.project import DONE, Yaml, live, reload

pytestmark = pytest.mark.anyio
VIRTUAL_TIME = True

SOURCE = """
import asyncio
from collections.abc import AsyncIterator
from tests.unit.app.project import DONE

class Engine:
    name = "{version}"

async def engine() -> AsyncIterator[Engine]:
    yield Engine()
    DONE.append(("closed", "{version}"))

async def handle(body: str, engine: Engine):
    if body == "slow":
        await asyncio.sleep(5)
    DONE.append((engine.name, body))

async def hook(moment):
    DONE.append(("{version} " + moment.name, moment.body))
"""
PROVIDER = "{name: engine, kind: provider.python, source: 'file://tasks.py', method: engine}"
HOOKS = [
    f"{{name: {moment}, kind: hook.python, source: 'file://tasks.py', method: hook, moment: {moment}}}"
    for moment in ("done", "stop")
]


async def test_a_running_handler_keeps_its_object_which_is_closed_when_it_has_ended(app: App, yaml: Yaml) -> None:
    yaml.source(SOURCE.replace("{version}", "v1"))
    yaml.more = PROVIDER
    await reload(app, yaml)
    await app.publish("tasks", "slow")
    await asyncio.sleep(1)
    yaml.source(SOURCE.replace("{version}", "v2"))
    await reload(app, yaml)
    await app.publish("tasks", "next")
    await asyncio.sleep(10)
    assert DONE == [("v1", "slow"), ("v2", "next")]
    await app.close()
    assert DONE[2:] == [("closed", "v1"), ("closed", "v2")]


async def test_a_reload_of_another_entry_keeps_the_objects(app: App, yaml: Yaml) -> None:
    yaml.source(SOURCE.replace("{version}", "v1"))
    yaml.more = PROVIDER
    await reload(app, yaml)
    before = live(app).providers
    yaml.dead = "max_length: 100"
    await reload(app, yaml)
    assert live(app).providers is before


async def test_new_hooks_hear_of_new_messages_and_of_the_stop(app: App, yaml: Yaml) -> None:
    yaml.source(SOURCE.replace("{version}", "v1"))
    yaml.more = "\n  - ".join([PROVIDER, *HOOKS])
    await reload(app, yaml)
    await app.publish("tasks", "a")
    await asyncio.sleep(1)
    yaml.source(SOURCE.replace("{version}", "v2"))
    await reload(app, yaml)
    await app.publish("tasks", "b")
    await asyncio.sleep(1)
    await app.close()
    heard = [each for each in DONE if " " in each[0]]
    assert heard == [("v1 done", "a"), ("v2 done", "b"), ("v2 stop", None)]
