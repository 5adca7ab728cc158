"""A controller with a record of its states."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from tasuki.errors import BrokerUnavailableError
from tasuki.supervisor import ServiceSpec, State
from tasuki.supervisor.controller import Controller
from tests.unit.supervisor.conftest import FakeService

AWAY = BrokerUnavailableError("broker is unavailable")

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


class Launched(Watched):
    """A controller that starts a service at once; ``starts``, ``waits`` and ``stops`` are its script."""

    def __init__(
        self,
        make_spec: MakeSpec,
        starts: Iterable[object] = (),
        waits: Iterable[object] = (),
        stops: Iterable[object] = (),
        **options: object,
    ) -> None:
        self.service = FakeService()
        self.service.starts, self.service.waits, self.service.stops = [*starts], [*waits], [*stops]
        super().__init__(make_spec(self.service, **options))
        self.controller.launch()


async def settle() -> None:
    """Let everything run that can without time passing, and a little time."""
    await asyncio.sleep(0.001)
