"""The options of ``run`` and ``desk`` that open the desk, and the desk beside a worker."""

from __future__ import annotations

import functools
import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from tasuki.cli.exits import CommandError
from tasuki.cli.output import is_terminal

if TYPE_CHECKING:
    import socket

    from tasuki.app import App
    from tasuki.desk.security.access import Access
    from tasuki.desk.viewer import Watched

TOKEN = "TASUKI_ADMIN_TOKEN"  # noqa: S105 - the name of a variable
ADMIN_OPTIONS = (
    "--admin", "--admin-host", "--admin-token-file", "--admin-actor", "--admin-actor-header", "--admin-proxy",
    "--admin-open", "--admin-publish-rate",
)  # fmt: skip
"""In the order of the fields of ``Admin``."""
DEFAULT = "127.0.0.1:9321"
_WILDCARDS = ("0.0.0.0", "::")  # noqa: S104 - they are recognised, not used

_log = logging.getLogger("tasuki.cli")


class Door(NamedTuple):
    """A socket that listens, and who may come in."""

    listening: socket.socket
    access: Access
    address: str
    """``http://127.0.0.1:9321/``"""
    link: str
    """The same, with the token that was made here: it logs in. Not for logs."""
    place: Path | None = None
    """The file of that token; None: it was given, or there is none, or it is kept nowhere."""


class Beside(NamedTuple):
    """A desk beside a worker."""

    start: Callable[[], object]
    door: Door | None
    """None: no desk is wanted."""


@dataclass(frozen=True, slots=True)
class Admin:
    """Where the desk listens (empty: nowhere), and whom it lets in."""

    address: str = ""
    hosts: tuple[str, ...] = ()
    token_file: Path | None = None
    actor: str = ""
    actor_header: str = ""
    proxies: tuple[str, ...] = ()
    is_open: bool = False
    publish_rate: float = 100.0

    @contextmanager
    def beside(self, app: App, watched: Watched | None = None) -> Iterator[Beside]:
        """For the time of the block, a desk in a separate thread, and the function that starts it.

        A worker calls it on its event loop: before that, ``Descriptors`` would take the desk's files for the loop's.
        ``watched``: what its probes and metrics are about, if not the app.

        Raises:
            CommandError: it cannot listen. TasukiError: the extra is missing.
        """
        if not self.address:
            yield Beside(_nothing, None)
            return
        door = self.listen(app._runtime.root)
        from functools import partial

        from tasuki.desk.desk import beside
        from tasuki.desk.server import DeskThread

        thread = DeskThread(partial(beside, app, door.access, watched), door.listening)
        try:
            yield Beside(thread.start, door)
        finally:
            thread.stop()
            door.listening.close()

    def listen(self, root: Path) -> Door:
        """The socket and the rules of the desk of a project's folder.

        Raises:
            CommandError: they cannot be. TasukiError: the extra is missing.
        """
        from tasuki.system.extras import require_extra

        require_extra()
        from tasuki.desk.server import listen

        try:
            listening, host = listen(self.address)
        except (ValueError, OSError) as error:
            raise CommandError(f"--admin {self.address}: {error}") from error
        try:
            return self._door(listening, host, root)
        except ValueError as error:
            listening.close()
            raise CommandError(str(error)) from error
        except BaseException:
            listening.close()
            raise

    def _door(self, listening: socket.socket, host: str, root: Path) -> Door:
        from tasuki.desk.security.access import LOOPBACK, Access, kept_token, names_of
        from tasuki.desk.server import is_loopback

        token, place, is_made = self._token(), None, False
        proxies = frozenset(map(_ip_of, self.proxies))
        is_near = is_loopback(host) and names_of(self.hosts) == LOOPBACK and not self.proxies
        if not is_loopback(host):
            self._warn_of(host)
        if token is None and not self.is_open and not self.actor_header:
            if not is_near:
                self._refuse_without_token()
            token, place, problem = kept_token(root, os.environ)
            is_made = True
            if problem:
                _log.warning("desk: its token ends with this process, as it cannot be kept: %s", problem)
        hosts = names_of(self.hosts if host in _WILDCARDS else (*self.hosts, host))
        access = Access(hosts, token, self.actor, self.actor_header, proxies, self.is_open, self.publish_rate, is_made)
        address = f"http://{self.address.rpartition(':')[0]}:{listening.getsockname()[1]}/"
        return Door(listening, access, address, f"{address}?token={token}" if is_made else address, place)

    def _refuse_without_token(self) -> None:
        """Raise CommandError: other machines reach it, also by way of a proxy, and it would let in anyone."""
        raise CommandError(
            f"--admin {self.address} can be reached from other machines, and needs a token. Make one with "
            "python -c 'import secrets; print(secrets.token_urlsafe(32))', and write it into a file "
            f"(--admin-token-file) or into {TOKEN}"
        )

    def _warn_of(self, host: str) -> None:
        if self.is_open:
            raise CommandError(f"--admin-open is for this machine alone, and {host} can be reached from others")
        _log.warning("the desk on %s speaks no TLS: put a proxy that does in front of it", self.address)

    def _token(self) -> str | None:
        if self.token_file is None:
            return os.environ.get(TOKEN, "").strip() or None
        try:
            return self.token_file.read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise CommandError(f"--admin-token-file: {error}") from error


def _ip_of(proxy: str) -> str:
    """An address as a socket names it. Raises ValueError."""
    try:
        return str(ip_address(proxy))
    except ValueError:
        raise ValueError(
            f"--admin-proxy {proxy} is no IP address: name each proxy by the one it connects from"
        ) from None


def announce(door: Door | None) -> None:
    """Say where a worker's desk is: people at a terminal get the link; a log is read by others, and gets its file."""
    if door is None:
        return
    if is_terminal(sys.stderr):
        click.echo(f"  desk      {door.link}", err=True)
    elif door.place is not None:
        _log.info("desk: %s, and the token for it is in %s", door.address, door.place)
    elif door.link != door.address:  # kept nowhere: here it is seen, or not at all
        click.echo(f"desk: {door.link}", err=True)
    else:
        _log.info("desk: %s", door.address)


def _nothing() -> None:
    """No desk is wanted."""


_publish_rate = click.option(
    "--admin-publish-rate",
    type=click.FloatRange(0, 1_000_000, min_open=True),
    default=100.0,
    show_default=True,
    metavar="N",
    help="Messages a second that one client may publish through the API.",
)


def admin_options(default: str = "") -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """The command gets an ``admin``; ``default``: where the desk listens if no option says so."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        @click.option(
            "--admin",
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
        @click.option(
            "--admin-proxy",
            multiple=True,
            metavar="ADDRESS",
            help="A proxy's address; it names the client, and whether the browser speaks TLS.",
        )
        @_publish_rate
        @click.option("--admin-open", is_flag=True, help="No token: every program of this machine may act.")
        @functools.wraps(function)
        def command(*args: Any, **named: Any) -> Any:
            admin = Admin(*(named.pop(option[2:].replace("-", "_")) for option in ADMIN_OPTIONS))
            return function(*args, admin=admin, **named)

        return command

    return decorate
