"""A supervisor in virtual time with services of a script."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from tasuki.errors import BrokerUnavailableError
from tasuki.supervisor import ServiceSpec, Supervisor
from tests.unit.supervisor.conftest import FakeService

AWAY = BrokerUnavailableError("broker is unavailable")

MakeSpec = Callable[..., ServiceSpec]


class World:
    """A supervisor in virtual time, with its services by name and one log of all they do."""

    def __init__(self, make_spec: MakeSpec) -> None:
        self.loop = asyncio.get_running_loop()
        self.supervisor = Supervisor(clock=self.loop.clock)  # type: ignore[attr-defined]
        self.log: list[str] = []
        self.services: dict[str, FakeService] = {}
        self._make_spec = make_spec

    def spec(self, name: str, *depends_on: str, **options: object) -> ServiceSpec:
        self.services[name] = FakeService(name, self.log)
        return self._make_spec(self.services[name], *depends_on, **options)

    def add(self, name: str, *depends_on: str, **options: object) -> FakeService:
        self.supervisor.add(self.spec(name, *depends_on, **options))
        return self.services[name]

    def state(self, name: str) -> str:
        return self.supervisor.states()[name].state.value

    @property
    def now(self) -> float:
        return round(self.loop.time(), 2)
