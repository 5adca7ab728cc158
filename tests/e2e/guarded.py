"""A project whose actors and policies a test chooses."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from tasuki import App
from tests.e2e.projects import write

QUEUES = """\
version: "1.0"
namespace: app.queue
entries:
  - {name: driver, kind: queue.driver.DRIVER}
  - {name: tasks, kind: queue.queue, driver: driver, dead_letter: {queue: dead, max_attempts: 1}}
  - {name: results, kind: queue.queue, driver: driver}
  - {name: secret, kind: queue.queue, driver: driver, dead_letter: {queue: dead}}
  - {name: dead, kind: queue.queue, driver: driver}
"""

WORK = """\
version: "1.0"
namespace: app
entries:
  - {name: cache, kind: store.memory}
  - {name: token, kind: env.variable, variable: TOKEN, default: hidden}
  - name: helper
    kind: function.lua
    modules: [queue, security]
    source: |
      local queue, security = require("queue"), require("security")
      return function(to)
        local ok, err = queue.publish(to, {n = 1})
        local actor = security.actor()
        return {who = actor and actor:id(), denied = err and {err:kind(), err:message(), err:details().reason}}
      end
  - name: work
    kind: function.FLAVOUR
    SOURCE
  - name: worker
    kind: queue.consumer
    queue: app.queue:tasks
    func: work
    lifecycle:
      auto_start: true
      security:
        actor: {id: "service:worker", meta: {team: blue}}
        groups: ["app.security:workers"]
        policies: ["app.security:no_secrets"]
"""

LUA = """source: |
      local queue, funcs, security = require("queue"), require("funcs"), require("security")
      return function(body)
        local ok, err = queue.publish(body.to, {n = 1})
        queue.publish("app.queue:results", {
          ok = ok, kind = err and err:kind(), message = err and err:message(), details = err and err:details(),
          called = funcs.call("app:helper", body.to), who = security.actor():id(),
        })
      end
    modules: [queue, funcs, security]"""

PYTHON = """source: file://work.py
    method: work"""

WORK_PY = """\
from tasuki import Context


async def work(body, context: Context):
    report = {"ok": None, "who": context.project.permissions.actor()["id"]}
    try:
        await context.publish(body["to"], {"n": 1})
        report["ok"] = True
    except Exception as error:
        report |= {"kind": error.kind, "message": str(error), "details": dict(error.details)}
    report["called"] = await context.call("app:helper", body["to"])
    await context.publish("app.queue:results", report)
"""

SECURITY = """\
version: "1.0"
namespace: app.security
entries:
  - name: own_queues
    kind: security.policy
    policy:
      actions: [queue.*, "funcs.call"]
      resources: ["app.queue:*", "app:*"]
      effect: allow
      conditions:
        - {field: actor.meta.team, operator: eq, value: blue}
    groups: [workers]
  - name: no_secrets
    kind: security.policy.expr
    policy:
      actions: "*"
      resources: "*"
      effect: deny
      expression: resource endsWith ":secret" && actor.id startsWith "service:"
"""


def project(
    folder: Path, flavour: str = "lua", driver: str = "memory", security: str = SECURITY, **changes: str
) -> Path:
    work = WORK.replace("FLAVOUR", flavour).replace("SOURCE", LUA if flavour == "lua" else PYTHON)
    for old, new in changes.items():
        work = work.replace(old, new)
    files = {"queue.yaml": QUEUES.replace("DRIVER", driver), "work.yaml": work, "work.py": WORK_PY}
    return write(folder, files | ({"security.yaml": security} if security else {}))


async def result_of(folder: Path, body: Any, headers: dict[str, Any] | None = None, dead: int = 0) -> Any:
    """What the worker reports about one task; fails if it, and so the task, is lost."""
    async with App.load(folder).worker() as app:
        await app.publish("app.queue:tasks", body, headers)
        results, failed = app._runtime.queue("app.queue:results"), app._runtime.queue("app.queue:dead")
        while not (messages := await results.peek()):
            assert (await failed.depth()).ready <= 2 * dead
            await asyncio.sleep(0.01)
        return results.decode(messages[0])


STRICT = """
  - name: config
    kind: security.config
    strict: true
"""

APPLICATION = """\
    application:
      actor: {id: web}
      policies: [web]
  - name: web
    kind: security.policy
    policy: {actions: ["queue.publish.*", queue.info.queue], resources: "app.queue:t*", effect: allow}
"""
