"""Addresses of brokers without their secrets, and the TLS of a connection, from a driver's settings."""

from __future__ import annotations

import ipaddress
import ssl
from urllib.parse import SplitResult, parse_qs, urlsplit

from tasuki.fields.types import TlsConfig, as_file, revealed

UNREADABLE = "(an address that cannot be read)"
"""Shown for an address that is no URL."""


def parts_of(url: str) -> SplitResult:
    """As ``urlsplit``, which from Python 3.13 on refuses ``[::1]`` behind another host. Raises ValueError."""
    scheme, mark, rest = url.partition("://")
    if not mark:
        return urlsplit(url)
    end = min(f"{rest}{sign}".find(sign) for sign in "/?#")
    return urlsplit(f"{scheme}://{rest[end:]}")._replace(netloc=rest[:end])


def shown(url: str) -> str:
    """``scheme://host:port/path`` of a URL: no user, no password, no query; for messages and logs.

    Several hosts with commas between them are shown as they are.
    """
    try:
        parts = parts_of(url)
        hosts = [_shown_host(host) for host in parts.netloc.rpartition("@")[2].split(",")]
    except ValueError:
        return UNREADABLE
    # A password with / ? or # that was not written as %2F %3F %23: the rest of it would be shown as port and path.
    rest = parts.path + parts.fragment + ("" if "@" in parts.netloc else parts.query)
    if parts.netloc and "@" in rest:
        return UNREADABLE
    return f"{parts.scheme}://{','.join(hosts)}{parts.path}"


def hosts_of(url: str) -> list[tuple[str, int | None]]:
    """The hosts of a URL, which may be several with commas between them, and their ports. Raises ValueError."""
    found = []
    for text in parts_of(url).netloc.rpartition("@")[2].split(","):
        parts = urlsplit(f"//{text}")
        if not parts.hostname or parts.port == 0:
            raise ValueError("no host and port")
        found.append((parts.hostname, parts.port))
    return found


def redis_database(url: SplitResult) -> str:
    """The database number in ``redis://host/n`` or ``unix:///path?db=n``; ``0`` if there is none."""
    text = parse_qs(url.query).get("db", ["0"])[0] if url.scheme == "unix" else url.path.strip("/")
    return text or "0"


def is_local(host: str) -> bool:
    """Whether ``host`` or ``host:port`` never leaves this machine: loopback, or the path of a Unix socket."""
    if host.startswith("/"):
        return True
    try:
        name = urlsplit(f"//{host}").hostname or ""
        return name == "localhost" or ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def far_hosts(hosts: str) -> list[str]:
    """The hosts in ``one:5432,two`` that are beyond this machine, as they are written; none for an empty text."""
    return [host for text in hosts.split(",") if (host := text.strip()) and not is_local(host)]


def servers_in(hosts: str, port: int) -> frozenset[tuple[str, int]]:
    """The servers of ``one:5432,two`` to compare with others: all names of loopback are one, a socket has port 0.

    ``port`` is for a host without one. Raises ValueError for a port that cannot be.
    """
    found = set()
    for text in hosts.split(","):
        if text.strip().startswith("/"):
            found.add((text.strip(), 0))
            continue
        parts = urlsplit(f"//{text.strip()}")
        host = parts.hostname or "localhost"
        found.add(("localhost" if is_local(host if ":" not in host else f"[{host}]") else host, parts.port or port))
    return frozenset(found)


def _shown_host(text: str) -> str:
    """Raises ValueError for a port that cannot be."""
    parts = urlsplit(f"//{text}")
    host, port = parts.hostname or "", parts.port
    return f"{f'[{host}]' if ':' in host else host}{f':{port}' if port else ''}"


def tls_context(tls: TlsConfig | None) -> ssl.SSLContext | None:
    """The context for the ``tls`` of an entry; None: not encrypted.

    ``server_name`` is for the client's own argument of that name. Raises OSError or ssl.SSLError for a file or text
    that cannot be used.
    """
    if tls is None or not tls.enabled:
        return None
    with as_file(tls.ca) as ca:
        context = ssl.create_default_context(cafile=ca)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if tls.insecure_skip_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if tls.cert is not None:
        with as_file(tls.cert) as cert, as_file(revealed(tls.key)) as key:
            context.load_cert_chain(str(cert), key)
    return context
