"""A job whose handler has succeeded with a result that cannot be sent: it is done, and says why there is no result."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tasuki import App
from tasuki.errors import HandlerError

pytestmark = pytest.mark.anyio

PROJECT = """
version: "1.0"
namespace: app
entries:
  - {name: driver, kind: queue.driver.memory}
  - {name: jobs, kind: queue.queue, driver: driver, result: 1h}
  - {name: handle, kind: function.python, source: "file://far.py", method: handle, isolation: process}
  - {name: consumer, kind: queue.consumer, queue: jobs, func: handle, lifecycle: {auto_start: true}}
"""


@pytest.mark.parametrize("ack", ["", "    context.ack()\n"], ids=["acked", "acked early"])
async def test_a_job_with_a_result_that_cannot_leave_its_process_is_done(tmp_path: Path, ack: str) -> None:
    (tmp_path / "_index.yaml").write_text(PROJECT)
    (tmp_path / "far.py").write_text(
        "from tasuki import Context\n\n\ndef handle(body, context: Context):\n" + ack + "    return object()\n"
    )
    async with App.load(tmp_path).worker() as app:
        queue = app.queue("app:jobs")
        job = await queue.publish(1)
        with pytest.raises(HandlerError, match=r"the result cannot be kept: .*object"):
            await job.result(timeout=20)
        assert await job.status() == "done"
        (consumer,) = app._runtime.live().consumers.values()
        async with asyncio.timeout(20):  # the ack follows the record
            while consumer.now.held:
                await asyncio.sleep(0.01)
