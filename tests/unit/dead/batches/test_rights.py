"""Who may begin a batch, and change one, where the project is strict."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tasuki import App
from tasuki.app.batches import Batches
from tasuki.errors import PolicyDeniedError

pytestmark = pytest.mark.anyio
VIRTUAL_TIME = True

PROJECT = """
version: "1.0"
namespace: app
entries:
  - {name: driver, kind: queue.driver.memory}
  - {name: dead, kind: queue.queue, driver: driver}
  - {name: jobs, kind: queue.queue, driver: driver, dead_letter: {queue: dead}}
  - {name: other, kind: queue.queue, driver: driver, dead_letter: {queue: dead}}
  - name: config
    kind: security.config
    strict: true
    application:
      actor: {id: web}
      policies: [may, jobs_only]
  - name: may
    kind: security.policy
    policy: {actions: [queue.admin.redrive, queue.info.queue], resources: ["*"], effect: allow}
  - name: jobs_only
    kind: security.policy
    policy: {actions: [queue.publish.queue], resources: ["app:jobs"], effect: allow}
"""


async def test_an_application_with_one_right(tmp_path: Path) -> None:
    (tmp_path / "_index.yaml").write_text(PROJECT)
    app = App.load(tmp_path, clock=asyncio.get_running_loop().clock)  # type: ignore[attr-defined]
    async with app:
        for act in ("move", "delete"):
            with pytest.raises(PolicyDeniedError, match=f"not allowed to {act} letters of queue: app:dead"):
                await app.dead.batches.begin(act, "app:dead", to="app:jobs" if act == "move" else None)
        with pytest.raises(PolicyDeniedError):
            await app.dead.batches.begin("retry", "app:dead", to="app:other")
        batch = await app.dead.batches.begin("retry", "app:dead", drive=False)
        for order in ("pause", "cancel", "undo", "resume"):
            with pytest.raises(PolicyDeniedError, match=f"not allowed to {order} batches of queue: app:dead"):
                await getattr(app.dead.batches, order)(batch.id)
        assert (await Batches(app._runtime.live, is_permitted=True).cancel(batch.id)).state == "cancelled"
