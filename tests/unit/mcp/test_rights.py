"""Who may act: only with --allow-acts, and only as a policy says; who may look."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from tasuki import App
from tasuki.app.state.auditing import acts_of
from tasuki.errors import TasukiError
from tasuki.mcp.running import require_policy
from tasuki.mcp.tools import ACTING
from tests.support.narrow import present
from tests.unit.desk.letters import bury, ids_in
from tests.unit.mcp.conftest import POLICY, Connect

pytestmark = pytest.mark.anyio

POLICIES = "".join(
    POLICY % {"actor": actor, "name": name, "actions": actions, "resources": resources}
    for actor, name, actions, resources in (
        ("kana", "all", "queue.admin.*", '"*"'),
        ("mika", "looks", "queue.admin.peek", '"*"'),
        ("ren", "pauses", "queue.admin.pause", "[app:other]"),
        ("ren", "looks", "queue.admin.peek", "[app:other]"),
    )
)
CALLS: Mapping[str, dict[str, Any]] = {
    "pause": {"kind": "queue", "id": "app:mails"},
    "resume": {"kind": "queue", "id": "app:mails"},
    "retry": {"queue": "app:dead", "id": "a"},
    "cancel": {"queue": "app:mails", "id": "a"},
    "redrive": {"queue": "app:dead", "dry": False},
    "run_schedule": {"schedule": "app:hourly"},
}


async def test_without_allow_acts_no_act_is_listed_or_done(app: App, connect: Connect) -> None:
    await bury(app, "a")
    async with connect(app) as call:
        names = {tool.name for tool in (await call.client.list_tools()).tools}
        assert not names & {tool.name for tool in ACTING}
        for tool, given in CALLS.items():
            assert await call.text(tool, **given) == (
                f"error: {tool} is off: start the server with --allow-acts, and a policy that allows it"
            )
    assert await ids_in(app, "dead") == ["a"]


@pytest.mark.parametrize("tool", CALLS)
async def test_an_actor_without_a_policy_does_nothing(app: App, connect: Connect, tool: str) -> None:
    await bury(app, "a")
    for actor in ("mcp:mika", "mcp:ren", "mcp:stranger", "kana"):
        async with connect(app, actor=actor, allows_acts=True) as call:
            assert f"error: {actor} may not" in await call.text(tool, **CALLS[tool])
    assert await ids_in(app, "dead") == ["a"]
    assert await ids_in(app, "mails") == []


async def test_an_actor_does_what_a_policy_allows_and_no_more(app: App, connect: Connect) -> None:
    async with connect(app, actor="mcp:ren", allows_acts=True) as call:
        assert (await call("pause", kind="queue", id="app:other"))["result"] == "done"
        assert "may not pause app:mails" in await call.text("pause", kind="queue", id="app:mails")
        assert "may not resume app:other" in await call.text("resume", kind="queue", id="app:other")


async def test_who_may_not_look_sees_no_message(app: App, connect: Connect) -> None:
    await bury(app, "a", error="KeyError: 'secret cause'")
    async with connect(app, actor="mcp:stranger") as call:
        assert (await call("overview"))["queues"] == 3
        for tool, given in (
            ("list_messages", {"queue": "app:dead"}),
            ("message", {"queue": "app:dead", "id": "a"}),
            ("explain", {"queue": "app:dead", "id": "a"}),
            ("dead_letters", {"queue": "app:dead"}),
        ):
            text = await call.text(tool, **given)
            assert ("may not peek app:dead" in text, "secret" in text) == (True, False), tool
        for tool, more in (("dead_groups", {}), ("find_messages", {"q": "error != ''"})):
            assert "secret" not in await call.text(tool, **more)


async def test_every_act_of_an_allowed_actor_is_done_and_in_the_audit(app: App, connect: Connect) -> None:
    await bury(app, "a", "b")
    await app.publish("app:mails", 1, id="c")
    async with connect(app, allows_acts=True) as call:
        assert (await call("pause", kind="queue", id="app:mails", reason="deploy"))["result"] == "done"
        (queue,) = (await call("list_queues", q="mails"))["items"]
        assert queue["paused"]["reason"] == {"untrusted": "deploy"}
        assert (await call("resume", kind="queue", id="app:mails"))["result"] == "done"
        assert "was not paused" in (await call("resume", kind="queue", id="app:mails"))["text"]
        assert (await call("cancel", queue="app:mails", id="c"))["result"] == "waiting"
        await call("retry", queue="app:dead", id="a")
        assert await ids_in(app, "mails") == ["a"]
        await call("run_schedule", schedule="app:hourly")
        assert len(await ids_in(app, "mails")) == 2
    records = await acts_of(present(app._runtime.assembly))
    assert {(record.actor, record.client) for record in records} == {("mcp:kana", "mcp")}
    assert [record.act for record in records] == ["run", "redrive", "cancel", "resume", "resume", "pause"]


def test_acts_are_refused_at_the_start_where_no_policy_names_them(tmp_path: Any) -> None:
    app = App("memory://", root=tmp_path)
    app.queue("mails")
    with pytest.raises(TasukiError, match=r"acts need a policy .* to mcp:kana: there is none"):
        require_policy(app.check(), "mcp:kana")
