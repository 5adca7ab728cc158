"""The options of ``run`` and ``desk`` that open the desk, and the desk beside a worker."""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tasuki.cli.exits import CommandError

if TYPE_CHECKING:
    import socket

    from tasuki.app import App
    from tasuki.desk.security.access import Access

TOKEN = "TASUKI_ADMIN_TOKEN"  # noqa: S105 - the name of a variable
ADMIN_OPTIONS = (
    "--admin", "--admin-host", "--admin-token-file", "--admin-actor", "--admin-actor-header", "--admin-proxy",
)  # fmt: skip
DEFAULT = "127.0.0.1:9321"
_WILDCARDS = ("0.0.0.0", "::")  # noqa: S104 - they are recognised, not used

_log = logging.getLogger("tasuki.cli")


@dataclass(frozen=True, slots=True)
class Admin:
    """Where the desk listens (empty: nowhere), and whom it lets in."""

    address: str = ""
    hosts: tuple[str, ...] = ()
    token_file: Path | None = None
    actor: str = ""
    actor_header: str = ""
    proxies: tuple[str, ...] = ()

    @contextmanager
    def beside(self, app: App) -> Iterator[None]:
        """The desk in a thread of its own for the time of the block. Raises CommandError, TasukiError."""
        if not self.address:
            yield
            return
        listening, access = self.listen()
        from functools import partial

        from tasuki.desk.making import beside
        from tasuki.desk.server.server import DeskThread

        thread = DeskThread(partial(beside, app, access), listening)
        thread.start()
        try:
            yield
        finally:
            thread.stop()
            listening.close()

    def listen(self) -> tuple[socket.socket, Access]:
        """The socket and the rules of the desk. Raises CommandError: they cannot be; TasukiError: no extra."""
        from tasuki.desk.extra import require_extra

        require_extra()
        from tasuki.desk.security.access import Access, names_of
        from tasuki.desk.server.server import is_loopback, listen

        try:
            listening, host = listen(self.address)
        except (ValueError, OSError) as error:
            raise CommandError(f"--admin {self.address}: {error}") from error
        try:
            token = self._token()
            if not is_loopback(host):
                self._check_reachable(token)
            hosts = names_of(self.hosts if host in _WILDCARDS else (*self.hosts, host))
            access = Access(hosts, token, self.actor, self.actor_header, frozenset(self.proxies))
        except ValueError as error:
            listening.close()
            raise CommandError(str(error)) from error
        except BaseException:
            listening.close()
            raise
        _log.info("desk: http://%s/", self.address)
        return listening, access

    def _check_reachable(self, token: str | None) -> None:
        """Raise CommandError: other machines reach it, and it would let in anyone."""
        if token is None and not self.actor_header:
            raise CommandError(
                f"--admin {self.address} can be reached from other machines, and needs a token: write one into a file "
                f"(--admin-token-file) or into {TOKEN}: python -c 'import secrets; print(secrets.token_urlsafe(32))'"
            )
        _log.warning("the desk on %s speaks no TLS: put a proxy that does in front of it", self.address)

    def _token(self) -> str | None:
        if self.token_file is None:
            return os.environ.get(TOKEN) or None
        try:
            return self.token_file.read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise CommandError(f"--admin-token-file: {error}") from error


def admin_options(default: str = "") -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """The command gets an ``admin``; ``default``: where the desk listens if no option says so."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        @click.option(
            "--admin",
            "admin_address",
            metavar="HOST:PORT",
            default=default,
            show_default=bool(default),
            help="Serve the desk here: pages about queues, messages and workers.",
        )
        @click.option("--admin-host", multiple=True, metavar="NAME", help="Answer to this name too, besides localhost.")
        @click.option(
            "--admin-token-file",
            type=click.Path(dir_okay=False, path_type=Path),
            help=f"The file with the token that opens the desk; else {TOKEN}.",
        )
        @click.option("--admin-actor", default="", metavar="ID", help="Who acts, for policies and the log.")
        @click.option(
            "--admin-actor-header", default="", metavar="NAME", help="Header in which the proxy names who acts."
        )
        @click.option("--admin-proxy", multiple=True, metavar="ADDRESS", help="Address of that proxy.")
        @functools.wraps(function)
        def command(*args: Any, **named: Any) -> Any:
            admin = Admin(
                named.pop("admin_address"),
                named.pop("admin_host"),
                named.pop("admin_token_file"),
                named.pop("admin_actor"),
                named.pop("admin_actor_header"),
                named.pop("admin_proxy"),
            )
            return function(*args, admin=admin, **named)

        return command

    return decorate
