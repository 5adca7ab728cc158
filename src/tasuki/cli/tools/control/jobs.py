"""Find the job of a message."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeVar

from tasuki.cli import loop
from tasuki.cli.exits import CommandError
from tasuki.cli.project import Target, find_queue, is_shared
from tasuki.errors import UnsupportedError
from tasuki.kinds.entries.queue import QueueConfig

if TYPE_CHECKING:
    from tasuki.app import App
    from tasuki.app.state.jobs import Job

T = TypeVar("T")


def on_job(target: Target, id: str, queue: str | None, work: Callable[[Job[Any]], Awaitable[T]]) -> T:
    """The result of the work on a job, in this queue or in the first that knows it. Raises CommandError."""
    app = target.load()
    project = app.check()
    if queue is not None:
        places = [find_queue(project, queue)]
    else:
        places = [each for each in project.of(QueueConfig) if is_shared(project.driver_of(each))]

    async def run() -> T:
        async with app._runtime.reading():
            return await work(await _find(app, id, places))

    return loop.run(run())


async def _find(app: App, id: str, queues: list[str]) -> Job[Any]:
    if len(queues) == 1:
        return app.jobs.get(id, queue=queues[0])
    assert app._runtime.assembly is not None
    untold: list[str] = []
    for queue in queues:
        job = app.jobs.get(id, queue=queue)
        if app._runtime.assembly.state_of(queue) is None:
            continue
        try:
            if await job.status() != "unknown":
                return job
        except UnsupportedError:
            untold.append(queue)
    where = ", ".join(queues) or "there is none"
    unsure = (
        f"; {', '.join(untold)} may have it, but keeps no results: write result: 1h (result='1h' in code)"
        if untold
        else ""
    )
    raise CommandError(
        f"no queue with a state knows message {id!r}: {where}{unsure}; tasuki explain looks for it everywhere"
    )
