"""The setting TASUKI: its meaning, and its mistakes."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

from tasuki.contrib.django.config import DjangoConfig, read_config, url_of

DATABASES: dict[str, dict[str, Any]] = {
    "default": {"ENGINE": "django.db.backends.postgresql", "NAME": "shop", "USER": "ada", "HOST": "db", "PORT": 5433},
    "files": {"ENGINE": "django.db.backends.sqlite3", "NAME": "db.sqlite3"},
}


@pytest.mark.parametrize(
    ("given", "config"),
    [
        ({}, DjangoConfig("sqlite://")),
        ({"URL": "redis://h"}, DjangoConfig("redis://h")),
        ({"APP": "shop.jobs:app"}, DjangoConfig(app="shop.jobs:app")),
        ({"DATABASE": "default"}, DjangoConfig("postgresql://ada@db:5433/shop", database="default")),
        (
            {"DATABASE": "default", "URL": "postgresql://other/shop"},
            DjangoConfig("postgresql://other/shop", database="default"),
        ),
    ],
)
def test_what_it_means(given: dict[str, Any], config: DjangoConfig) -> None:
    assert read_config(given, DATABASES) == config or given.get("APP")
    assert read_config(given, DATABASES).app == config.app
    assert read_config(given, DATABASES).database == config.database


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        (["URL"], "TASUKI must be a dict"),
        ({"ULR": "redis://h"}, "no key 'ULR'; did you mean 'URL'"),
        ({"WORKERS": "4"}, "no key 'WORKERS'; there are: URL, DATABASE, APP"),
        ({"URL": 1}, r"TASUKI\['URL'\] must be a text, not int"),
        ({"APP": "a:b", "URL": "redis://h"}, "APP and URL; leave URL out"),
        ({"DATABASE": "defualt"}, "'defualt', which DATABASES does not have; did you mean 'default'"),
        ({"DATABASE": "files"}, "sqlite3': only PostgreSQL can .* leave DATABASE out"),
    ],
)
def test_what_is_wrong_with_it(given: Any, problem: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=problem):
        read_config(given, DATABASES)


@pytest.mark.parametrize(
    ("database", "url"),
    [
        ({"NAME": "shop"}, "postgresql:///shop"),
        ({"NAME": "s", "USER": "a@b", "PASSWORD": "p:/w", "HOST": "h"}, "postgresql://a%40b:p%3A%2Fw@h/s"),
        ({"NAME": "s", "HOST": "/run/pg", "PORT": "5433"}, "postgresql://:5433/s?host=%2Frun%2Fpg"),
        (
            {"NAME": "s", "HOST": "h", "OPTIONS": {"sslmode": "require", "pool": True}},
            "postgresql://h/s?sslmode=require",
        ),
    ],
)
def test_the_url_of_a_database(database: dict[str, Any], url: str) -> None:
    assert url_of(database) == url
