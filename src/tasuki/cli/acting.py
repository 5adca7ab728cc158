"""Work on the queues of a project; each act is kept in the audit, with the user and the host of this process."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import TYPE_CHECKING, TypeVar

from tasuki.cli import loop
from tasuki.cli.exits import CommandError
from tasuki.cli.project import Target, find_queue
from tasuki.errors import QueueNotFoundError
from tasuki.system.process import user_and_host

if TYPE_CHECKING:
    from tasuki.app import App
    from tasuki.app.state.auditing import Outcome
    from tasuki.queues.queue import Queue


CLIENT = "command line"
"""From where these acts come."""


def acting(app: App, act: str, target: str, queue: str = "") -> AbstractAsyncContextManager[Outcome]:
    """Keep the record of the act that the block is; ``queue``: whose store keeps it, else any of the project."""
    from tasuki.app.state.auditing import audited

    live = app._runtime.live()
    guard = live.rights.application
    actor = guard.actor.id if guard is not None and guard.actor is not None else user_and_host()
    return audited(live, queue, act, target, actor=actor, client=CLIENT)


def ids_text(ids: Sequence[str]) -> str:
    """Ids of messages as the filter of a record; imported when it is needed."""
    from tasuki.app.state import auditing

    return auditing.ids_text(ids)


T = TypeVar("T")


def on_queue(target: Target, name: str, work: Callable[[Queue], Awaitable[T]]) -> T:
    """The result of the work on a queue that exists at its broker. Raises CommandError."""
    app = target.load()
    id = find_queue(app.check(), name)

    async def run() -> T:
        async with app._runtime.reading():
            with looking_at(id):
                return await work(app._runtime.queue(id))

    return loop.run(run())


def act_on_queue(target: Target, name: str, act: str, work: Callable[[Queue, Outcome], Awaitable[T]]) -> T:
    """The same for work that is an act; it says in the outcome what the audit keeps. Raises CommandError."""
    app = target.load()
    id = find_queue(app.check(), name)

    async def run() -> T:
        async with app._runtime.reading():
            with looking_at(id):
                async with acting(app, act, id, id) as outcome:
                    return await work(app._runtime.queue(id), outcome)

    return loop.run(run())


@contextmanager
def looking_at(id: str) -> Iterator[None]:
    """Add the remedy to the error about a queue that the broker does not have. Raises CommandError."""
    try:
        yield
    except QueueNotFoundError as error:
        raise CommandError(
            f"queue {id!r} does not exist at its broker: a worker makes it when it starts, or the first publish"
        ) from error
