"""The driver: its verbs are transactions of the store."""

from __future__ import annotations

from tasuki.clock import Clock
from tasuki.contracts.driver import Ability, Capabilities, Durability
from tasuki.drivers.toolkit.database.driver import DatabaseDriver
from tasuki_mariadb.connecting import Link
from tasuki_mariadb.database import MariaDb
from tasuki_mariadb.settings import MariaDbSettings
from tasuki_mariadb.store import MAX_BODY

_DURABILITY: dict[int, Durability] = {0: "process", 2: "broker"}
_ABILITIES: frozenset[Ability] = frozenset({
    "ordered", "ordering_key", "native_priority", "leases", "exact_depth", "max_length", "dedup",
})  # fmt: skip


class MariaDbDriver(DatabaseDriver[Link]):
    """Keeps queues in tables of a MariaDB database; see the table of the package."""

    capabilities = Capabilities(
        "power",
        _ABILITIES,
        max_batch=1000,
        max_message_bytes=MAX_BODY,
    )

    def __init__(self, name: str, settings: MariaDbSettings, clock: Clock | None = None) -> None:
        self._mariadb = MariaDb(name, settings)
        super().__init__(name, self._mariadb, clock)

    @property
    def durability(self) -> Durability:
        """What the commits of the server survive, by its settings when the last connection was made."""
        return _DURABILITY.get(self._mariadb.flush_at_commit, "power")
