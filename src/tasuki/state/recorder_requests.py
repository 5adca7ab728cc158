"""Asks: another process's requests for the latest events of a worker, and the answers.

A request is a control, so each worker receives it by the watch that it already has. Each consumer answers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from typing import Any, NamedTuple

import msgspec

from tasuki.contracts.state.store import MAX_PAGE, Store
from tasuki.errors import StoreLimitError
from tasuki.message import new_id
from tasuki.state.shared import CONTROL, Controls

TTL = 60.0
"""Seconds after which a question, and an answer that was not read, is gone."""

PATIENCE = 5.0
"""Seconds in which each consumer answers, unless its event loop is blocked."""

_PAUSE = 0.05


Events = list[dict[str, Any]]
"""As :func:`tasuki.observe.events.as_dicts` makes them."""


class Ask(msgspec.Struct, frozen=True):
    """A request: its sender, and the number of events of each consumer."""

    asker: str
    newest: int
    stacks: bool = False
    """Whether to tell, as events of the kind ``stack`` at the end, where the running handlers stand."""
    message: str = ""
    """Id of a running message to report, as an event of the kind ``held``, with its stack; empty: of none."""


class Worker(NamedTuple):
    """The process that answers."""

    host: str
    pid: int

    @property
    def key(self) -> str:
        """Its key among the controls."""
        return f"ask/{self.host[:200]}:{self.pid}"


def listen(controls: Controls, worker: Worker, answer: Callable[[Ask], object]) -> Callable[[], None]:
    """Call ``answer`` for each question to this worker, also one that is open already; returns what ends that."""

    def hear(key: str, value: bytes | None) -> None:
        if key == worker.key and value is not None:
            answer(msgspec.json.decode(value, type=Ask))

    hear(worker.key, controls.get(worker.key))
    return controls.listen(worker.key, hear)


async def answer(store: Store, asker: str, consumer: str, events: Events) -> None:
    """Put the answer of a consumer; the oldest events make room where the store takes no more. Raises DriverError."""
    while True:
        try:
            await store.put(_answer_key(asker, consumer), msgspec.json.encode(events), ttl=TTL)
        except StoreLimitError:
            if len(events) < 2:
                raise
            events = events[len(events) // 2 :]
        else:
            return


async def ask(
    store: Store,
    worker: Worker,
    consumers: Collection[str],
    newest: int,
    patience: float = PATIENCE,
    *,
    stacks: bool = False,
    message: str = "",
) -> dict[str, Events]:
    """The newest events of these consumers of a worker, by consumer; one that has not answered is left out.

    ``stacks``, ``message``: see :class:`Ask`; a worker of an older version tells none.

    Raises:
        DriverError: the store cannot be used.
    """
    asker, end = new_id(), asyncio.get_running_loop().time() + patience
    await store.put(CONTROL + worker.key, msgspec.json.encode(Ask(asker, newest, stacks, message)), ttl=TTL)
    found: dict[str, Events] = {}
    while not found.keys() >= set(consumers) and asyncio.get_running_loop().time() < end:
        await asyncio.sleep(_PAUSE)
        page = await store.list(_answer_key(asker, ""), limit=MAX_PAGE)
        found |= {
            entry.key.removeprefix(_answer_key(asker, "")): msgspec.json.decode(entry.value) for entry in page.entries
        }
    await store.delete(CONTROL + worker.key)
    for consumer in found:
        await store.delete(_answer_key(asker, consumer))
    return found


def _answer_key(asker: str, consumer: str) -> str:
    return f"answer/{asker}/{consumer}"
