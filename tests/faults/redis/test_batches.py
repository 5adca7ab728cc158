"""Batches in a Redis cluster: no script reaches two slots, so nothing comes back, and that is said before."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasuki import App
from tasuki.contracts.driver import Outgoing
from tasuki.dead.batches.planning import preview
from tasuki.errors import BatchStateError
from tests.support.brokers.redis import Cluster

pytestmark = [pytest.mark.anyio, pytest.mark.fault]

PROJECT = """
version: "1.0"
namespace: app
entries:
  - {name: driver, kind: queue.driver.redis, addrs: "127.0.0.1:%d", is_cluster_mode: true, prefix: batches}
  - {name: jobs, kind: queue.queue, driver: driver, dead_letter: {queue: dead}, lease: 5s}
  - {name: dead, kind: queue.queue, driver: driver, lease: 5s}
"""


async def test_what_it_does_cannot_be_undone_and_it_says_so_before(tmp_path: Path) -> None:
    (tmp_path / "_index.yaml").write_text(PROJECT % Cluster.shared().port)
    async with App.load(tmp_path) as app:
        dead, jobs = app._runtime.queue("app:dead"), app._runtime.queue("app:jobs")
        headers = {"x_original_queue": "app:jobs", "x_last_error": "E: no"}
        letters = [Outgoing(f"m{n:02}", b"{}", dict(headers)) for n in range(30)]
        assert not any(await dead.forward(letters))
        assert not (await preview(dead, app._runtime.clock, "delete")).can_undo
        moved = await app.dead.batches.begin("move", "app:dead", to="app:jobs", limit=5, rate=0)
        assert not moved.kept
        moved = await app.dead.batches.wait(moved.id)
        gone = await app.dead.batches.wait((await app.dead.batches.begin("delete", "app:dead", limit=10, rate=0)).id)
        sent = await app.dead.batches.wait((await app.dead.batches.begin("retry", "app:dead", rate=0, canary=None)).id)
        assert [(each.state, each.done, each.can_undo) for each in (moved, gone, sent)] == [
            ("done", 5, False), ("done", 10, False), ("done", 15, False),
        ]  # fmt: skip
        with pytest.raises(BatchStateError, match="cannot be undone"):
            await app.dead.batches.undo(gone.id)
        assert ((await dead.depth()).ready, (await jobs.depth()).ready) == (0, 20)
        for queue in (dead, jobs):
            await queue.delete()
