"""A controller with a record of its states."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from tasuki.errors import BrokerUnavailableError
from tasuki.supervisor import ServiceSpec, State
from tasuki.supervisor.controller import Controller

AWAY = BrokerUnavailableError("broker is away")

MakeSpec = Callable[..., ServiceSpec]


class Watched:
    """A controller with a record of its states and their times."""

    def __init__(self, spec: ServiceSpec) -> None:
        self.seen: list[tuple[float, State]] = []
        self.loop = asyncio.get_running_loop()
        self.controller = Controller(spec, clock=self.loop.clock, notify=self.note)  # type: ignore[attr-defined]

    def note(self) -> None:
        self.seen.append((self.loop.time(), self.controller.status.state))

    @property
    def states(self) -> list[str]:
        return [state.value for _, state in self.seen]


async def settle() -> None:
    """Let everything run that can without time passing, and a little time."""
    await asyncio.sleep(0.001)
