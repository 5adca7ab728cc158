"""Servers: the brokers of a project, without users, passwords and queries of addresses."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple
from urllib.parse import parse_qs, unquote

from pydantic import SecretStr

from tasuki.drivers.sqs.aws import AwsConfig
from tasuki.drivers.toolkit.address import UNREADABLE, parts_of, redis_database, shown
from tasuki.fields.types import Config, DriverKind
from tasuki.kinds.check.project import Project

LOCAL = "localhost"
"""The host of a driver without a server."""
_ENCRYPTED = {"amqp": "amqps", "redis": "rediss"}
_PLAIN = {
    "amqps": "amqp",
    "rediss": "redis",
    "valkey": "redis",
    "valkeys": "redis",
    "tls": "nats",
    "postgres": "postgresql",
}
_TLS = frozenset({"amqps", "rediss", "valkeys", "tls", "https"})


class Place(NamedTuple):
    """The servers of a driver: ``hosts`` are ``host`` or ``host:port``, each a server with the same queues."""

    protocol: str
    hosts: list[str]
    path: str = ""
    is_encrypted: bool = False


def place_of(kind: DriverKind, config: Config, aws: AwsConfig | None = None) -> Place:
    """Where a driver has its queues; ``aws``: the ``config.aws`` entry that it names."""
    if kind.short_name == "sqs":
        return _sqs(config, aws)
    place = _READERS.get(kind.short_name, _other)(kind.short_name, config)
    tls = getattr(config, "tls", None)
    is_encrypted = place.is_encrypted or bool(tls is not None and tls.enabled)
    protocol = _ENCRYPTED.get(place.protocol, place.protocol) if is_encrypted else place.protocol
    return place._replace(protocol=protocol, is_encrypted=is_encrypted)


def server_objects(project: Project, driver: str) -> list[dict[str, Any]]:
    """The server objects of a driver entry, one for each of its hosts."""
    kind, config = project.kinds[driver], project.configs[driver]
    assert isinstance(kind, DriverKind)
    aws = project.configs.get(str(getattr(config, "config", "")))
    place = place_of(kind, config, aws if isinstance(aws, AwsConfig) else None)
    extensions: dict[str, Any] = {"x-tasuki-driver": driver, "x-tasuki-kind": kind.name}
    if place.is_encrypted:
        extensions["x-tasuki-tls"] = True
    if (durability := getattr(config, "durability", None)) is not None:
        extensions["x-tasuki-durability"] = str(durability)
    return [
        {
            "title": driver,
            "host": host,
            "protocol": place.protocol,
            **({"pathname": place.path} if place.path else {}),
            **({"variables": _VARIABLES} if "{region}" in host else {}),
            **extensions,
        }
        for host in place.hosts
    ]


_VARIABLES: Mapping[str, Any] = {"region": {"description": "The region, from the environment or the files of AWS."}}


def _from_url(name: str, url: str) -> Place:
    """Nothing but scheme, hosts and path, and none of these if the URL cannot be read for certain."""
    if shown(url) == UNREADABLE:
        return Place(name, [LOCAL])
    parts = parts_of(url)
    hosts = [host for host in parts.netloc.rpartition("@")[2].split(",") if host]
    protocol = _PLAIN.get(parts.scheme, parts.scheme or name)
    return Place(protocol, hosts or [LOCAL], parts.path, parts.scheme in _TLS)


def _amqp(name: str, config: Any) -> Place:
    place = _from_url(name, config.url.get_secret_value())
    vhost = config.vhost or unquote(place.path[1:]) or "/"
    return place._replace(path=f"/{vhost.removeprefix('/')}")


def _postgres(name: str, config: Any) -> Place:
    url = config.url.get_secret_value()
    place, query = _from_url(name, url), parse_qs(parts_of(url).query)
    hosts = [unquote(host) for host in place.hosts]
    if hosts == [LOCAL] and "host" in query:
        hosts = query["host"][-1].split(",")
    hosts = [LOCAL if host.startswith("/") else host for host in hosts]  # the folder of a socket
    database = place.path.strip("/") or query.get("dbname", [""])[-1]
    is_encrypted = query.get("sslmode", [""])[-1] in ("require", "verify-ca", "verify-full")
    return place._replace(hosts=hosts, path=f"/{database}" if database else "", is_encrypted=is_encrypted)


def _redis(name: str, config: Any) -> Place:
    url = config.url.get_secret_value() if config.url else ""
    if url.startswith("unix:"):
        return Place(name, [LOCAL], unquote(parts_of(url).path))
    place = _from_url(name, url) if url else Place(name, _listed(config.addrs) or [LOCAL])
    database = config.db or int(redis_database(parts_of(url)) if url else 0)
    return place._replace(path=f"/{database}" if database else "")


def _nats(name: str, config: Any) -> Place:
    places = [_from_url(name, server.get_secret_value()) for server in config.servers or ()]
    hosts = [host for place in places for host in place.hosts]
    return Place(name, hosts or [LOCAL], "", any(place.is_encrypted for place in places))


def _sqlite(name: str, config: Any) -> Place:
    return Place(name, [LOCAL], str(config.path))


def _sqs(config: Any, aws: AwsConfig | None) -> Place:
    if config.endpoint is not None:
        return _from_url("sqs", config.endpoint)._replace(protocol="sqs")
    region = (aws.region if aws is not None else None) or "{region}"
    return Place("sqs", [f"sqs.{region}.amazonaws.com"], "", is_encrypted=True)


def _other(name: str, config: Any) -> Place:
    """A driver of another package: the scheme and hosts of its ``url``, if it has one; its path may hold anything."""
    url = getattr(config, "url", None)
    text = url.get_secret_value() if isinstance(url, SecretStr) else url
    found = _from_url(name, text) if isinstance(text, str) and "://" in text else Place(name, [LOCAL])
    return found._replace(path="")


def _listed(addrs: str | list[str] | None) -> list[str]:
    texts = addrs.split(",") if isinstance(addrs, str) else addrs or []
    return [text.strip().rpartition("@")[2] for text in texts if text.strip()]


_READERS: Mapping[str, Callable[[str, Any], Place]] = {
    "amqp": _amqp,
    "nats": _nats,
    "postgres": _postgres,
    "redis": _redis,
    "sqlite": _sqlite,
}
