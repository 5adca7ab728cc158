"""Every act has its right: no button without it, and the server refuses what no button offers."""

from __future__ import annotations

import logging
import re
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tasuki import App
from tasuki.desk.acts.acts import ACTS, Acts, Order, right_of
from tasuki.desk.acts.bulk import ACT_OF, Bulk
from tasuki.desk.security.sessions import ActorSession
from tasuki.errors import PolicyDeniedError, TasukiError
from tasuki.observe.metrics import PROCESS
from tests.support.desk_project import mails, policy
from tests.unit.desk.letters import bury
from tests.unit.desk.test_rights import client_of

pytestmark = pytest.mark.anyio

MORE = (
    '{name: func, kind: function.lua, source: "return function() end"}',
    "{name: sender, kind: queue.consumer, queue: mails, func: func, lifecycle: {auto_start: false}}",
    "{name: hourly, kind: queue.schedule, queue: mails, every: 1h}",
)
NAMES = {"queue": "app:dead", "consumer": "app:sender", "schedule": "app:hourly"}
ALL = {*(right_of(act) for act in ACTS), "peek", "secrets", "audit"}
PAGES = (
    "/", "/queues", "/queues/app:mails", "/queues/app:mails?tab=delayed", "/dead", "/dead/app:dead",
    "/messages/app:dead/1", "/messages/app:mails/w", "/schedules", "/workers",
)  # fmt: skip
OPTIONS: dict[str, dict[str, Any]] = {"publish": {"body": msgspec.Raw(b"1")}, "batch": {"batch": "0", "verb": "pause"}}
OF_PROGRAMS = {"acknowledge", "publish", "delete", "export", "borrow", "undo_edit", "batch"}
"""Acts that these pages have no button for, and the one that looks: ``export`` is there for who may look.

``acknowledge`` has one beside a killed worker, ``undo_edit`` on the page of an edited message.
"""


@asynccontextmanager
async def project(folder: Path, rights: Collection[str]) -> AsyncIterator[App]:
    """A project at whose desk kana has these rights."""
    (folder / "_index.yaml").write_text(mails(*MORE, policy("kana", sorted(rights))))
    async with App.load(folder) as app:
        await bury(app, "1", "2")
        await app.publish("app:mails", {"n": 1}, id="w")
        await app.publish("app:mails", {"n": 2}, delay="1h")
        yield app


async def carry_out(app: App, act: str, kind: str, actor: str) -> None:
    """Do the act, whatever the pages offer; an act that has been begun may fail."""
    acts: Acts = client_of(app.desk(is_open=True)).desk.tools.acts
    one = "" if act in {*ACT_OF, "purge", "delete", "pause", "resume", "borrow", "export"} else "1"
    bulk = Bulk(act, NAMES[kind], to="app:mails" if act == "move" else "") if act in {*ACT_OF, "export"} else None
    order = Order(act, kind, NAMES[kind], one, options=OPTIONS.get(act, {}), bulk=bulk)
    try:
        await acts.carry_out(order, ActorSession("s", actor, "", "127.0.0.1"))
    except PolicyDeniedError:
        raise
    except (TasukiError, ValueError, LookupError):
        pass


EVERY = [(act, kind) for act, found in ACTS.items() for kind in found.kinds]


@pytest.mark.parametrize(("act", "kind"), EVERY)
async def test_an_act_needs_its_right_and_no_other(
    act: str, kind: str, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PROCESS, "acts", {})
    right = right_of(act)
    caplog.set_level(logging.INFO, "tasuki.desk")
    begun = f"desk: {act} {kind} {NAMES[kind]}, by kana"
    async with project(tmp_path, ALL - {right}) as app:
        for actor in ("kana", "ren"):
            with pytest.raises(PolicyDeniedError, match=rf"no policy allows queue\.admin\.{right}$"):
                await carry_out(app, act, kind, actor)
        assert begun not in caplog.text
        assert app.metrics.snapshot()["process"]["acts"] == {act: {"denied": 2}}
        assert await app.dead.batches.list() == []
        assert [(await app._runtime.queue(id).depth()).ready for id in ("app:dead", "app:mails")] == [2, 1]
    async with project(tmp_path, {right}) as app:
        await carry_out(app, act, kind, "kana")
        assert begun in caplog.text
        assert sum(PROCESS.acts[act].values()) == 3


async def buttons(app: App, actor: str) -> set[str]:
    """The acts that the pages offer to an actor."""
    browser = client_of(app.desk(actor=actor, is_open=True))
    found: set[str] = set()
    for path in PAGES:
        page = (await browser.get(path)).text
        found |= {*re.findall(r"[?&;]act=(\w+)", page), *re.findall(r'name="act" value="(\w+)"', page)}
        found |= {act.replace("-", "_") for act in re.findall(r'href="[^"]*/(edit|dry-run)\?', page)}
    return found


@pytest.mark.parametrize(
    ("rights", "offered"), [(ALL, set(ACTS) - OF_PROGRAMS | {"export"}), ({"peek"}, {"export"}), ({"pause"}, {"pause"})]
)
async def test_the_pages_offer_what_the_actor_may_do(rights: set[str], offered: set[str], tmp_path: Path) -> None:
    async with project(tmp_path, rights) as app:
        assert await buttons(app, "kana") - {"resume"} == offered - {"resume"}
        assert await buttons(app, "ren") == set()


@pytest.mark.parametrize("act", ["purge", "delete"])
async def test_an_act_on_a_queue_is_none_on_some_letters(act: str, tmp_path: Path) -> None:
    async with project(tmp_path, ALL) as app:
        acts, session = client_of(app.desk(is_open=True)).desk.tools.acts, ActorSession("s", "kana", "", "127.0.0.1")
        bulk = Bulk(act, "app:dead", ids=("1",))
        for order in (Order(act, "queue", "app:dead", "1"), Order(act, "queue", "app:dead", bulk=bulk)):
            with pytest.raises(ValueError, match="about a whole queue"):
                await acts.carry_out(order, session)
        assert (await app._runtime.queue("app:dead").depth()).ready == 2
