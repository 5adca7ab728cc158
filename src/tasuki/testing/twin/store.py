"""TwinStore: a store in memory whose broker can be away."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tasuki.drivers.memory.store import MemoryStore, Shelf
from tasuki.drivers.toolkit.guard import Guard
from tasuki.errors import BrokerUnavailableError

if TYPE_CHECKING:
    from tasuki.testing.twin.faults.state import Faults


class TwinStore(MemoryStore):
    """Its entries are there again when the broker is; a watch waits until then. It goes by virtual time."""

    def __init__(self, name: str, guard: Guard[Any], shelf: Shelf, faults: Faults) -> None:
        super().__init__(name, guard, shelf, faults.clock)
        self._faults = faults

    def _ready(self, key: str = "x", value: bytes = b"") -> Shelf:
        if self._faults.is_away:
            problem = f"store {self.name!r} of driver {self.driver!r}: the broker is away, as the test says"
            raise BrokerUnavailableError(problem, driver=self.driver)
        return super()._ready(key, value)
