"""The setting TASUKI: read and checked."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from tasuki.errors import Position
from tasuki.registry.entry import did_you_mean

_DEFAULT_URL = "sqlite://"
_KEYS = ("URL", "DATABASE", "APP")
_IN_URL = ("sslmode", "sslrootcert", "sslcert", "sslkey")
"""Options of a database in Django that the URL of the driver takes too."""


@dataclass(frozen=True, slots=True)
class DjangoConfig:
    """``url`` of the App, or ``app``: where it is; ``database``: alias of the database whose transactions it joins."""

    url: str = _DEFAULT_URL
    app: str | None = None
    database: str | None = None


def read_config(given: Any, databases: Mapping[str, Mapping[str, Any]]) -> DjangoConfig:
    """Check the setting.

    Args:
        given: its value.
        databases: the setting DATABASES.

    Raises:
        ImproperlyConfigured: an unknown key, a value of another type, or keys that exclude each other.
    """
    if not isinstance(given, Mapping):
        raise ImproperlyConfigured("TASUKI must be a dict, such as {'URL': 'redis://localhost'}")
    for key, value in given.items():
        if key not in _KEYS:
            hint = did_you_mean(str(key), _KEYS) or f"there are: {', '.join(_KEYS)}"
            raise ImproperlyConfigured(f"TASUKI has no key {key!r}; {hint}")
        if not isinstance(value, str):
            raise ImproperlyConfigured(f"TASUKI[{key!r}] must be a text, not {type(value).__name__}")
    if "APP" in given and "URL" in given:
        raise ImproperlyConfigured("TASUKI has APP and URL; leave URL out: the App of APP has its own")
    database = given.get("DATABASE")
    if database is not None:
        refuse_database(database, databases)
    url = given.get("URL") or (url_of(databases[database]) if database is not None else _DEFAULT_URL)
    return DjangoConfig(url, given.get("APP"), database)


def refuse_database(alias: str, databases: Mapping[str, Mapping[str, Any]]) -> None:
    """Raise ImproperlyConfigured for an alias that is not a PostgreSQL database."""
    if alias not in databases:
        hint = did_you_mean(alias, databases) or f"there are: {', '.join(databases)}"
        raise ImproperlyConfigured(f"TASUKI['DATABASE'] is {alias!r}, which DATABASES does not have; {hint}")
    engine = str(databases[alias].get("ENGINE", ""))
    if "postg" not in engine:
        raise ImproperlyConfigured(
            f"TASUKI['DATABASE'] is {alias!r}, whose engine is {engine!r}: only PostgreSQL can store a message as "
            "a part of a transaction; leave DATABASE out, and messages wait for the commit"
        )


def url_of(database: Mapping[str, Any]) -> str:
    """The URL of a PostgreSQL database of the setting DATABASES."""
    user, password = str(database.get("USER") or ""), str(database.get("PASSWORD") or "")
    host, port = str(database.get("HOST") or ""), str(database.get("PORT") or "")
    given: Mapping[str, Any] = database.get("OPTIONS") or {}
    options = {name: str(given[name]) for name in _IN_URL if name in given}
    if host.startswith("/"):  # the folder of a socket
        host, options["host"] = "", host
    login = f"{quote(user, '')}{':' + quote(password, '') if password else ''}@" if user else ""
    place = f"{login}{host}{':' + port if port else ''}"
    query = f"?{urlencode(options)}" if options else ""
    return f"postgresql://{place}/{quote(str(database.get('NAME') or ''), '')}{query}"


def current_config() -> DjangoConfig:
    """The setting of this project; without one all defaults. Raises ImproperlyConfigured."""
    return read_config(getattr(settings, "TASUKI", {}), settings.DATABASES)


def settings_place() -> Position:
    """Where the settings are."""
    module = getattr(settings, "SETTINGS_MODULE", "")
    return Position(getattr(sys.modules.get(module), "__file__", None) or module or "settings")
