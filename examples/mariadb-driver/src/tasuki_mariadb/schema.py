"""The tables: made once for all processes that start together."""

from __future__ import annotations

from tasuki.drivers.toolkit.layout import Layout, is_outdated
from tasuki_mariadb.connecting import NO_TABLE, Link, code_of

LAYOUT = Layout(1, 1)

TABLES = (
    # A number is never used again: what another process remembers of a deleted queue finds nothing.
    """
    CREATE TABLE IF NOT EXISTS {0}_queues (
        name         VARBINARY(255) PRIMARY KEY,
        number       INT UNSIGNED NOT NULL AUTO_INCREMENT UNIQUE,
        lease        DOUBLE NOT NULL,
        max_length   BIGINT,
        by_key       BOOL NOT NULL,
        dedup_window DOUBLE,
        temporary    BOOL NOT NULL
    ) ENGINE = InnoDB""",
    # token: of the last delivery, until it is settled; it outlives the lease, and then makes a suspect.
    # due: when it becomes receivable: the end of its delay or of its lease, in seconds since 1970.
    """
    CREATE TABLE IF NOT EXISTS {0}_messages (
        seq          BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
        queue        INT UNSIGNED NOT NULL,
        id           BLOB NOT NULL,
        headers      LONGBLOB NOT NULL,
        body         LONGBLOB NOT NULL,
        size         INT UNSIGNED NOT NULL,
        place        TINYINT NOT NULL,
        line         BINARY(16),
        state        TINYINT NOT NULL,
        due          DOUBLE NOT NULL,
        published_at DOUBLE NOT NULL,
        attempts     INT UNSIGNED NOT NULL DEFAULT 0,
        token        BIGINT UNSIGNED,
        started      BOOL NOT NULL DEFAULT FALSE,
        suspect      BOOL NOT NULL DEFAULT FALSE,
        KEY receivable (queue, state, place, seq),
        KEY timed (queue, state, due, published_at),
        KEY of_key (queue, line, seq),
        KEY of_key_by_state (queue, line, state)
    ) ENGINE = InnoDB""",
    """
    CREATE TABLE IF NOT EXISTS {0}_ids (
        queue        INT UNSIGNED NOT NULL,
        id           BINARY(16) NOT NULL,
        published_at DOUBLE NOT NULL,
        PRIMARY KEY (queue, id),
        KEY by_time (queue, published_at)
    ) ENGINE = InnoDB""",
    """
    CREATE TABLE IF NOT EXISTS {0}_consumers (
        queue  INT UNSIGNED NOT NULL,
        holder VARCHAR(64) CHARACTER SET ascii NOT NULL,
        count  INT UNSIGNED NOT NULL,
        PRIMARY KEY (queue, holder)
    ) ENGINE = InnoDB""",
    "CREATE TABLE IF NOT EXISTS {0}_layout (version INT PRIMARY KEY, min_version INT NOT NULL) ENGINE = InnoDB",
)
LOCK = "GET_LOCK(MD5(CONCAT('tasuki ', DATABASE(), ' ', %s)), 60)"


async def migrate(link: Link, prefix: str, driver: str) -> None:
    """Make what is missing. Raises what the client raises, and DriverError for tables that need a newer driver."""
    if await _is_current(link, prefix, driver):
        return
    await link.rows(f"SELECT {LOCK}", prefix)
    try:
        for sql in TABLES:
            await link.run(sql.format(prefix))
        await link.run(f"INSERT IGNORE INTO {prefix}_layout VALUES (%s, %s)", *LAYOUT)
        await link.commit()
    finally:
        await link.rows(f"SELECT {LOCK.replace('GET', 'RELEASE').replace(', 60', '')}", prefix)


async def _is_current(link: Link, prefix: str, driver: str) -> bool:
    try:
        found = await link.rows(f"SELECT version, min_version FROM {prefix}_layout ORDER BY version DESC LIMIT 1")
    except Exception as problem:
        if code_of(problem) == NO_TABLE:
            return False
        raise
    place = f"prefix {prefix!r}"
    return bool(found) and not is_outdated(Layout(*found[0]), LAYOUT, place=place, driver=driver)
