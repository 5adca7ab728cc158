"""A MariaDB server."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tests.support.brokers import template
from tests.support.brokers.broker import Broker
from tests.support.brokers.postgres import as_user


class MariaDb(Broker):
    """Its user ``root`` has no password, its database is ``tasuki``; the files of the system's server are not read."""

    name = "mariadb"
    package = "mariadb-server"
    user = "mysql"

    def prepare(self) -> None:
        """Copy the data folder, once; it belongs to the user that the server runs as: it refuses root."""
        data = self.folder / "data"
        if data.exists():
            return
        if os.geteuid() == 0:
            shutil.chown(self.folder, self.user)
        template.copy(self.name, self._install, data)
        (self.folder / "init.sql").write_text("CREATE DATABASE IF NOT EXISTS tasuki;\n")

    def _install(self, folder: Path) -> None:
        installer = self.binary("mariadb-install-db")
        data = folder / "data"
        options = ["--no-defaults", f"--datadir={data}", "--auth-root-authentication-method=normal", "--skip-test-db"]
        if os.geteuid() == 0:
            shutil.chown(folder, self.user)
            options.append(f"--user={self.user}")
        done = subprocess.run([installer, *options], check=False, capture_output=True, text=True, cwd=folder)
        assert done.returncode == 0, f"{installer}: {done.stdout[-2000:]} {done.stderr[-2000:]}"

    def command(self) -> Sequence[str]:
        """See Broker."""
        user = as_user(self.user) if os.geteuid() == 0 else []
        return [
            *user,
            self.binary("mariadbd", "/usr/sbin/mariadbd"),
            "--no-defaults",
            f"--datadir={self.folder / 'data'}",
            f"--socket={self.folder / 'socket'}",
            f"--init-file={self.folder / 'init.sql'}",
            f"--port={self.port}",
            "--bind-address=127.0.0.1",
            "--skip-name-resolve",
            "--max-connections=300",
            "--innodb-flush-log-at-trx-commit=2",
            "--innodb-file-per-table=0",
        ]

    def is_ready(self) -> bool:
        """Whether it greets: the first packet has number 0 and names version 10 of the protocol."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=1) as client:
            return client.recv(5)[3:] == b"\0\x0a"
