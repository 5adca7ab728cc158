"""A PostgreSQL server, and a transaction pooler before it."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import struct
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from tests.support.brokers import template
from tests.support.brokers.broker import START_TIMEOUT, Broker

_AUTHENTICATED = b"R\0\0\0\x08\0\0\0\0"


class Postgres(Broker):
    """Trusts everybody; its user and database are ``postgres``."""

    name = "postgres"
    package = "postgresql"
    address = "postgresql://postgres@127.0.0.1:{port}/postgres"
    user = "postgres"
    settings: Sequence[str] = ("fsync=off", "max_connections=300")

    @property
    def data(self) -> Path:
        """Its data folder."""
        return self.folder / "data"

    def prepare(self) -> None:
        """Copy the data folder, once; it belongs to the user that the server runs as: it refuses root."""
        if self.data.exists():
            return
        if os.geteuid() == 0:
            shutil.chown(self.folder, self.user)
        template.copy(self.name, self._install, self.data)

    def _install(self, folder: Path) -> None:
        initdb = self.binary("initdb", "/usr/lib/postgresql/*/bin/initdb")
        if os.geteuid() == 0:
            shutil.chown(folder, self.user)
        options = ("-A", "trust", "-U", "postgres", "--no-sync", "--locale=C", "-E", "UTF8")
        command = [*as_user(self.user), initdb, "-D", str(folder / "data"), *options]
        subprocess.run(command, check=True, capture_output=True, cwd=folder)

    def start(self) -> None:
        """Start it; after a kill its children may need a moment to end, and keep a new server out until then."""
        ends_at = time.monotonic() + START_TIMEOUT
        while True:
            try:
                return super().start()
            except AssertionError:
                if "still in use" not in self.log()[-400:] or time.monotonic() > ends_at:
                    raise
                time.sleep(0.05)

    def end(self) -> None:
        """Kill it, and remove its data; a child that was just born may write there for a moment."""
        super().end()
        for _ in range(20):
            if not self.folder.exists():
                return
            time.sleep(0.05)
            shutil.rmtree(self.folder, ignore_errors=True)

    def command(self) -> Sequence[str]:
        """See Broker."""
        server = self.binary("postgres", "/usr/lib/postgresql/*/bin/postgres")
        settings = [
            "listen_addresses=127.0.0.1",
            f"unix_socket_directories={self.data}",
            "shared_preload_libraries=",
            *self.settings,
        ]
        options = [part for setting in settings for part in ("-c", setting)]
        return [*as_user(self.user), server, "-D", str(self.data), "-p", str(self.port), *options]

    def is_ready(self) -> bool:
        """Whether it lets us in: a start-up message is answered with ``R``."""
        return answers(self.port)


class Standby(Postgres):
    """A copy of another server, which follows it under the name ``standby``."""

    def __init__(self, primary: Postgres) -> None:
        super().__init__()
        self._primary = primary

    def prepare(self) -> None:
        """Copy the other server, once; see Broker."""
        if self.data.exists():
            return
        if os.geteuid() == 0:
            shutil.chown(self.folder, self.user)
        program = self.binary("pg_basebackup", "/usr/lib/postgresql/*/bin/pg_basebackup")
        there = f"host=127.0.0.1 port={self._primary.port} user=postgres application_name=standby"
        command = [*as_user(self.user), program, "-D", str(self.data), "-R", "-c", "fast", "-d", there]
        subprocess.run(command, check=True, capture_output=True, cwd=self.folder)


class Pgbouncer(Broker):
    """Pools transactions of the shared PostgreSQL server; keeps no prepared statements."""

    name = "pgbouncer"
    package = "pgbouncer"
    address = "postgresql://postgres@127.0.0.1:{port}/postgres"
    pool_mode = "transaction"

    def prepare(self) -> None:
        """Write its settings."""
        if os.geteuid() == 0:
            shutil.chown(self.folder, Postgres.user)
        (self.folder / "users.txt").write_text('"postgres" ""\n')
        (self.folder / "pgbouncer.ini").write_text(
            f"""[databases]
postgres = host=127.0.0.1 port={Postgres.shared().port} dbname=postgres user=postgres
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {self.port}
unix_socket_dir =
auth_type = any
auth_file = {self.folder}/users.txt
pool_mode = {self.pool_mode}
default_pool_size = 4
max_prepared_statements = 0
"""
        )

    def command(self) -> Sequence[str]:
        """See Broker."""
        pooler = self.binary("pgbouncer", "/usr/sbin/pgbouncer")
        return [*as_user(Postgres.user), pooler, str(self.folder / "pgbouncer.ini")]

    def is_ready(self) -> bool:
        """See Postgres."""
        return answers(self.port)


def as_user(user: str) -> list[str]:
    """What to put before a command that root may not run itself."""
    if os.geteuid() != 0:
        return []
    account = pwd.getpwnam(user)
    return ["setpriv", f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}", "--clear-groups", "--pdeathsig=KILL"]


def answers(port: int) -> bool:
    """Whether a server of PostgreSQL's protocol on a loopback port takes clients."""
    parameters = b"user\0postgres\0database\0postgres\0\0"
    with socket.create_connection(("127.0.0.1", port), timeout=1) as client:
        client.sendall(struct.pack("!ii", len(parameters) + 8, 196608) + parameters)
        return client.recv(9) == _AUTHENTICATED
