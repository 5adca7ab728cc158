"""Access: the host names, the token and its file, and the actor."""

from __future__ import annotations

import os
import re
import secrets
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from ipaddress import ip_address
from pathlib import Path
from typing import NamedTuple

from tasuki.system.process import user_and_host

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
"""Names by which only programs on this machine reach it."""

_MOST_PUBLISHES = 1_000_000
_LEAST_TOKEN = 22
"""Characters of 128 bits in base64."""


@dataclass(frozen=True, slots=True)
class Access:
    """The names that the desk answers to, and how a client proves who it is.

    Raises:
        ValueError: it has no token and is not open, or is open to other machines, or the token is too short, or the
            rate is out of bounds.
    """

    hosts: frozenset[str] = LOOPBACK
    """Names without a port, in lower case, that the header Host may have."""
    token: str | None = field(default=None, repr=False)
    """Opens a session; None: a proxy names the actor, or the desk is open."""
    actor: str = ""
    """Who acts, for policies and the log; empty: the user of this process and its host."""
    actor_header: str = ""
    """The header in which a trusted proxy names the actor; empty: none."""
    proxies: frozenset[str] = frozenset()
    """Addresses of the trusted proxies, which also say the client's address and whether the browser speaks TLS."""
    is_open: bool = False
    """Every client that reaches it may act."""
    publish_rate: float = 100.0
    """Messages a second that one client may publish through the API; its other acts have a rate of their own."""
    takes_links: bool = False
    """An address with the token opens a session: for one of this machine alone, as proxies log addresses."""

    def __post_init__(self) -> None:
        if self.token is not None and len(self.token) < _LEAST_TOKEN:
            raise ValueError(
                f"the token of the desk has {len(self.token)} characters, and needs {_LEAST_TOKEN}: "
                "make one with python -c 'import secrets; print(secrets.token_urlsafe(32))'"
            )
        if self.token is not None and not self.token.isascii():
            raise ValueError("the token of the desk has characters beyond ASCII, which a header cannot carry")
        if not 0 < self.publish_rate <= _MOST_PUBLISHES:
            raise ValueError(f"the rate of publishing must be above 0 and at most {_MOST_PUBLISHES:,} a second")
        if self.actor_header and not self.proxies:
            raise ValueError("the header that names the actor needs the address of the proxy that sets it")
        if self.is_open:
            self._check_open()
        elif self.token is None and not self.actor_header:
            raise ValueError("the desk needs a token, or a proxy that names the actor")

    def _check_open(self) -> None:
        if self.token is not None or self.proxies:
            raise ValueError("an open desk has no token and no proxy, which would open it to all of its clients")
        if others := self.hosts - LOOPBACK:
            raise ValueError(f"the desk would answer to {', '.join(sorted(others))} without a token; give it one")

    @property
    def default_actor(self) -> str:
        """Who acts where no proxy names another."""
        return self.actor or user_and_host()


def names_of(hosts: Iterable[str]) -> frozenset[str]:
    """The loopback names and these, without ports and in lower case."""
    return LOOPBACK | {host_name(host) for host in hosts}


def client_behind(lines: Sequence[str], proxy: str) -> str:
    """The address of a trusted proxy's client, from the lines of ``X-Forwarded-For``; without one the proxy's.

    The proxy appends: whatever stands before the last address is the client's own text.
    """
    text = lines[-1].rpartition(",")[2].strip() if lines else ""
    try:
        return proxy if "%" in text else str(ip_address(text))  # after % anything may follow
    except ValueError:
        return proxy


def host_name(host: str) -> str:
    """The name of a Host header, without the port: ``[::1]:9321`` → ``::1``; empty where it is malformed."""
    host = host.strip().lower()
    if host.startswith("["):
        name, closed, rest = host[1:].partition("]")
        return name if closed and (not rest or _is_port(rest)) else ""
    name, colon, _ = host.partition(":")
    if colon and not _is_port(host[len(name) :]):
        return ""
    return name.rstrip(".")


def port_of(host: str) -> str:
    """The digits of the port of a Host header; empty where it has none, or is malformed."""
    end = host.strip().rpartition(":")[2]
    return end if host_name(host) and _is_port(f":{end}") else ""


def _is_port(text: str) -> bool:
    return text[:1] == ":" and text[1:].isascii() and text[1:].isdigit() and len(text) <= 6


_TOKEN = re.compile(r"[A-Za-z0-9_-]{43}\n?")
_MOST = 200
"""Bytes that are read of a file."""

_FOLLOWS_NOTHING = os.O_NOFOLLOW | os.O_CLOEXEC


class KeptToken(NamedTuple):
    """A token, and its file; without one it is this process's alone, for the reason in ``problem``."""

    text: str
    path: Path | None
    problem: str = ""


def kept_token(root: Path, environ: Mapping[str, str]) -> KeptToken:
    """The token of a project's folder for this user; it is made if there is none. Never raises OSError.

    The file is in the user's state folder, not in the project: images, archives and commits would take it along.
    """
    name = sha256(os.fsencode(root.resolve())).hexdigest()[:32]
    try:
        folder = _state(environ) / "tasuki" / "desk"
        folder.mkdir(0o700, parents=True, exist_ok=True)
        with _opened(folder) as place:
            return KeptToken(_read(place, name) or _make(place, name), folder / name)
    except (OSError, RuntimeError) as error:
        return KeptToken(secrets.token_urlsafe(32), None, str(error))


def _state(environ: Mapping[str, str]) -> Path:
    """Where a user's programs keep their state. Raises RuntimeError: the user has no home."""
    given = Path(environ.get("XDG_STATE_HOME", ""))  # a relative one does not count, says its specification
    if given.is_absolute():
        return given
    home = environ.get("HOME", "")
    return (Path(home) if home else Path.home()) / ".local" / "state"


@contextmanager
def _opened(folder: Path) -> Iterator[int]:
    """A descriptor of the folder. Raises PermissionError: another user could change its files."""
    place = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | _FOLLOWS_NOTHING)
    try:
        found = os.fstat(place)
        if found.st_uid != os.geteuid() or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise PermissionError(f"other users may write into {folder}")
        yield place
    finally:
        os.close(place)


def _read(place: int, name: str) -> str | None:
    """The token of a file that no other user can have read; None: there is none.

    Raises:
        OSError: it is a link, a device, or another user's.
    """
    try:
        file = os.open(name, os.O_RDONLY | os.O_NONBLOCK | _FOLLOWS_NOTHING, dir_fd=place)
    except FileNotFoundError:
        return None
    try:
        found = os.fstat(file)
        if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid():
            raise PermissionError(f"{name} is not a file of this user")
        text = os.read(file, _MOST).decode("ascii", "replace")
    finally:
        os.close(file)
    if found.st_mode & 0o077 or not _TOKEN.fullmatch(text):
        os.unlink(name, dir_fd=place)  # others may know it, or it is damaged
        return None
    return text.strip()


def _make(place: int, name: str) -> str:
    """Make the file, whole or not at all; the token of another process that was faster. Raises OSError."""
    token, draft = secrets.token_urlsafe(32), f".{name}.{secrets.token_hex(8)}"
    file = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _FOLLOWS_NOTHING, 0o600, dir_fd=place)
    try:
        with open(file, "wb") as opened:
            opened.write(token.encode() + b"\n")
        os.link(draft, name, src_dir_fd=place, dst_dir_fd=place)
    except FileExistsError:
        other = _read(place, name)
        if other is None:
            raise
        return other
    finally:
        os.unlink(draft, dir_fd=place)
    return token
