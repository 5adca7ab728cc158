"""The tables: made once for all processes that start together."""

from __future__ import annotations

from importlib.resources import files

from tasuki.drivers.toolkit.layout import Layout, is_outdated
from tasuki_mariadb.connecting import Link

LAYOUT = Layout(1, 1)
LOCK = "SELECT {}_LOCK(MD5(CONCAT('tasuki ', DATABASE(), ' ', %s)){})"


async def migrate(link: Link, prefix: str) -> None:
    """Make the tables that are missing. Raises what the client raises."""
    await link.rows(LOCK.format("GET", ", 60"), prefix)
    try:
        for sql in (files(__package__) / "schema.sql").read_text("utf-8").format(prefix).split(";\n"):
            await link.rows(sql)
        await link.rows(f"INSERT IGNORE INTO {prefix}_layout VALUES (%s, %s)", *LAYOUT)
        await link.commit()
    finally:
        await link.rows(LOCK.format("RELEASE", ""), prefix)


async def check(link: Link, prefix: str, driver: str) -> None:
    """Refuse tables that only a newer driver can work with (DriverError); the client raises if there are none."""
    found = await link.rows(f"SELECT version, min_version FROM {prefix}_layout ORDER BY version DESC LIMIT 1")
    if found:
        is_outdated(Layout(*found[0]), LAYOUT, place=f"prefix {prefix!r}", driver=driver)
