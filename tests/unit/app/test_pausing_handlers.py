"""Handlers that pause a queue: in Python, in their own process and in Lua; and what policies say to that."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasuki import App
from tasuki.errors import HandlerError, PolicyDeniedError, QueueNotFoundError

pytestmark = pytest.mark.anyio

PROJECT = """\
version: "1.0"
namespace: app
entries:
  - {name: driver, kind: queue.driver.memory}
  - {name: mails, kind: queue.queue, driver: driver}
  - {name: secret, kind: queue.queue, driver: driver}
  - {name: work, kind: function.FLAVOUR, source: "file://work.EXTENSION", modules: [queue]}
  - {name: sender, kind: queue.consumer, queue: mails, func: work}
"""

POLICIES = """\
  - {name: security, kind: security.config, application: {actor: {id: ops}, policies: [ops]}}
  - name: ops
    kind: security.policy
    policy: {actions: ["queue.pause.*", queue.resume.queue, "*.info.*", funcs.call], resources: "*", effect: allow}
  - name: keep
    kind: security.policy
    policy: {actions: "*", resources: "*:secret", effect: deny}
"""

PYTHON = """
from datetime import UTC, datetime
from tasuki import Context

async def work(body, context: Context):
    if body == "info":
        return await context.queues.info("mails")
    if body == "resume":
        return await context.queues.resume("mails")
    if body == "until":
        return dict(await context.queues.pause("mails", until=datetime(2100, 1, 1, tzinfo=UTC), reason="429"))
    return dict(await context.queues.pause(body.get("queue", "mails"), body.get("duration"), reason="429"))
"""

LUA = """
local queue = require("queue")
return function(body)
  local value, err
  if body == "info" then
    value, err = queue.info("mails")
  elseif body == "resume" then
    value, err = queue.resume("mails")
  elseif body == "until" then
    value, err = queue.pause("mails", { ["until"] = 4102444800, reason = "429" })
  else
    value, err = queue.pause(body.queue or "mails", { duration = body.duration, reason = "429", what = body.what })
  end
  if err then
    return { kind = err:kind(), message = err:message() }
  end
  return { value = value }
end
"""


def load(folder: Path, flavour: str, *, isolated: bool = False, policies: bool = False) -> App:
    is_lua = flavour == "lua"
    text = PROJECT.replace("FLAVOUR", flavour).replace("EXTENSION", "lua" if is_lua else "py")
    if not is_lua:
        text = text.replace(", modules: [queue]", ", method: work")
    if isolated:
        text = text.replace("source:", "isolation: process, source:")
    (folder / "_index.yaml").write_text(text + (POLICIES if policies else ""))
    (folder / "work.py").write_text(PYTHON)
    (folder / "work.lua").write_text(LUA)
    return App.load(folder)


@pytest.mark.parametrize("isolated", [False, True])
async def test_a_python_handler_pauses_and_resumes(tmp_path: Path, isolated: bool) -> None:
    async with load(tmp_path, "python", isolated=isolated) as app:
        paused = await app.call("work", {"duration": "1h"})
        assert (paused["actor"], paused["reason"]) == ("app:work", "429")
        assert paused["until"] == pytest.approx(paused["at"] + 3600)
        assert (await app.call("work", "info"))["paused"] == paused
        assert await app.call("work", {"duration": "30s"}) == paused, "a handler never shortens a pause"
        assert (await app.call("work", "until"))["until"] == 4102444800
        assert await app.call("work", "resume") is True
        assert await app.call("work", "resume") is False
        assert "paused" not in await app.call("work", "info")
        with pytest.raises(HandlerError if isolated else QueueNotFoundError, match="'app:nowhere' is not defined"):
            await app.call("work", {"queue": "nowhere"})


@pytest.mark.parametrize("isolated", [False, True])
async def test_a_lua_handler_pauses_and_resumes(tmp_path: Path, isolated: bool) -> None:
    async with load(tmp_path, "lua", isolated=isolated) as app:
        assert await app.call("work", {"duration": "1h"}) == {"value": True}
        assert (await app.call("work", "info"))["value"]["paused"]["reason"] == "429"
        assert await app.call("work", "until") == {"value": True}
        paused = (await app._runtime.queue("mails").info())["paused"]
        assert (paused["until"], paused["actor"]) == (4102444800, "app:work")
        assert await app.call("work", "resume") == {"value": True}
        assert await app.call("work", "resume") == {"value": False}
        for body, problem in [
            ({"duration": "soon"}, "not a duration"),
            ({"duration": True}, "option 'duration' must be a string or a number"),
            ({"what": 1}, "unknown option 'what': options are duration, until and reason"),
            ({"queue": "nowhere"}, "queue not found"),
        ]:
            refused = await app.call("work", body)
            assert problem in refused["message"]
        assert "paused" not in await app._runtime.queue("mails").info()


async def test_policies_decide(tmp_path: Path) -> None:
    async with load(tmp_path, "python", policies=True) as app:
        assert (await app.workers.pause("mails", actor="kana")).actor == "ops"
        assert await app.workers.resume("mails") is not None
        await app.workers.pause("sender")
        for acting in (app.workers.resume("sender"), app.workers.scale("sender", 3)):
            with pytest.raises(PolicyDeniedError, match=r"not allowed to (resume|scale) consumer: app:sender"):
                await acting
        await app.call("work", {"duration": 1})
    denied = POLICIES.replace("policies: [ops]", "policies: [ops, keep]")
    (tmp_path / "_index.yaml").write_text((tmp_path / "_index.yaml").read_text().replace(POLICIES, denied))
    async with App.load(tmp_path) as app:
        with pytest.raises(PolicyDeniedError, match="not allowed to pause queue: app:secret"):
            await app.call("work", {"queue": "secret"})
        with pytest.raises(PolicyDeniedError, match="not allowed to pause queue: app:secret"):
            await app.workers.pause("secret")


async def test_without_a_running_handler_there_is_nothing_to_pause_with(tmp_path: Path) -> None:
    app = load(tmp_path, "lua")
    (tmp_path / "work.lua").write_text('error(select(2, require("queue").pause("mails")):message())')
    with pytest.raises(HandlerError, match=r"queue\.pause"):
        async with app:
            await app.call("work")
