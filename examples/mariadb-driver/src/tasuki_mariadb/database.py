"""The database: its connections, its store, and its tables, made once for all processes that start together."""

from __future__ import annotations

from importlib.resources import files

from tasuki.drivers.toolkit.stores import require
from tasuki_mariadb.connecting import Connector, Link
from tasuki_mariadb.settings import MariaDbSettings
from tasuki_mariadb.store import MariaDbStore

LAYOUT = 1
LOCK = "SELECT {}_LOCK(MD5(CONCAT('tasuki ', DATABASE(), ' ', %s)){})"


class MariaDb(Connector):
    """Where the tables are, and how to reach them."""

    def __init__(self, name: str, settings: MariaDbSettings) -> None:
        super().__init__(name, settings)
        self.pool_size, self.timeout, self.poll_interval = settings.pool_size, settings.timeout, settings.poll_interval
        self._prefix = settings.prefix
        self._alone: set[str] = set()

    def store(self, link: Link) -> MariaDbStore:
        return MariaDbStore(link, self._prefix, self._name, self._alone)

    async def check(self, link: Link) -> None:
        found = await link.rows(f"SELECT max(version) FROM {self._prefix}_layout")
        if found[0][0] is not None:  # MariaDB commits a new table at once, and its process may have died before the row
            require(found[0][0], LAYOUT, place=f"prefix {self._prefix!r}", instead="prefix", driver=self._name)

    async def create(self, link: Link) -> None:
        await link.rows(LOCK.format("GET", ", 60"), self._prefix)
        try:
            for sql in (files(__package__) / "schema.sql").read_text("utf-8").format(self._prefix).split(";\n"):
                await link.rows(sql)
            await link.rows(f"INSERT IGNORE INTO {self._prefix}_layout VALUES (%s)", LAYOUT)
            await link.commit()
        finally:
            await link.rows(LOCK.format("RELEASE", ""), self._prefix)
