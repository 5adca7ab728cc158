"""An app in memory, and clients of ``tasuki mcp`` that see it, in this process."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from mcp import Client

from tasuki import App
from tasuki.app.app import reader_of
from tasuki.desk.site import Site
from tasuki.mcp.passages import Passages
from tasuki.mcp.serving import Serving
from tasuki.mcp.source import ToolSource

PROJECT = """
version: "1.0"
namespace: app
entries:
  - {name: driver, kind: queue.driver.memory}
  - {name: mails, kind: queue.queue, driver: driver, dead_letter: {queue: dead}}
  - {name: other, kind: queue.queue, driver: driver}
  - {name: dead, kind: queue.queue, driver: driver}
  - {name: func, kind: function.lua, source: "return function() end"}
  - {name: sender, kind: queue.consumer, queue: mails, func: func, lifecycle: {auto_start: false}}
  - {name: hourly, kind: queue.schedule, queue: mails, every: 1h, body: {"a": 1}}
"""
POLICY = """
  - name: %(actor)s_%(name)s
    kind: security.policy
    policy:
      actions: [%(actions)s]
      resources: %(resources)s
      effect: allow
      conditions: [{field: actor.id, operator: eq, value: "mcp:%(actor)s"}]
"""


class Caller:
    """A client: each call is one tool's answer."""

    def __init__(self, client: Client) -> None:
        self.client = client

    async def text(self, tool: str, **given: Any) -> str:
        """The text of a result, or of an error."""
        done = await self.client.call_tool(tool, given)
        (content,) = done.content
        assert content.type == "text"
        return ("error: " if done.is_error else "") + content.text

    async def __call__(self, tool: str, **given: Any) -> Any:
        """The document of a result."""
        text = await self.text(tool, **given)
        assert not text.startswith("error: "), text
        return json.loads(text)


Connect = Callable[..., AbstractAsyncContextManager[Caller]]


@asynccontextmanager
async def connected(
    app: App, *, actor: str = "mcp:kana", allows_acts: bool = False, site: Site | None = None
) -> AsyncIterator[Caller]:
    source = ToolSource(
        site or Site(reader_of(app), app, opens=True), actor, app._runtime.clock, ["false"], Passages(list)
    )
    try:
        async with Client(Serving(source, allows_acts=allows_acts).server(), mode="legacy") as client:
            yield Caller(client)
    finally:
        await source.close()


@pytest.fixture
def connect() -> Connect:
    """Connect: ``async with connect(app) as call: await call("overview")``."""
    return connected


@pytest.fixture
async def app(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[App]:
    """An open app; a test module says in ``POLICIES`` what policies it has."""
    policies = getattr(request.module, "POLICIES", "")
    (tmp_path / "_index.yaml").write_text(PROJECT + policies)
    async with App.load(tmp_path) as app:
        yield app
