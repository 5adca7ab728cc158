"""Access: which names, which token, and who acts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address

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
