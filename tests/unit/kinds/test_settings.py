"""Declared environment variables, wherever they are stored."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasuki.kinds.check.project import check
from tasuki.kinds.settings import Settings
from tasuki.registry.loader import load

PROJECT = """
namespace: app
entries:
  - {name: os, kind: env.storage.os}
  - {name: memory, kind: env.storage.memory}
  - {name: file, kind: env.storage.file, file_path: settings.env}
  - {name: lost, kind: env.storage.file, file_path: nowhere.env}
  - {name: url, kind: env.variable, variable: API_URL, default: "http://default"}
  - {name: key, kind: env.variable, storage: os}
  - {name: token, kind: env.variable, variable: TOKEN, storage: file}
  - {name: gone, kind: env.variable, variable: GONE, storage: lost, default: fallback}
  - {name: note, kind: env.variable, variable: NOTE, storage: memory, default: remembered}
  - {name: none, kind: env.variable, variable: NONE}
"""


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / "_index.yaml").write_text(PROJECT)
    (tmp_path / "settings.env").write_text("# a comment\nTOKEN = 'abc=def'\nodd line\n")
    environ = {"API_URL": "http://here", "key": "k", "UNDECLARED": "x", "EMPTY": ""}
    return Settings(check(load(tmp_path, environ=environ)), environ)


@pytest.mark.parametrize(
    ("name", "namespace", "value"),
    [
        ("API_URL", "app", "http://here"),
        ("app:url", "other", "http://here"),
        ("url", "app", "http://here"),
        ("url", "other", None),
        ("key", "app", "k"),
        ("TOKEN", "app", "abc=def"),
        ("GONE", "app", "fallback"),
        ("NOTE", "app", "remembered"),
        ("NONE", "app", None),
        ("UNDECLARED", "app", None),
    ],
)
def test_where_a_value_comes_from(settings: Settings, name: str, namespace: str, value: str | None) -> None:
    assert settings.get(name, namespace) == value


def test_an_empty_value_counts_as_unset(tmp_path: Path) -> None:
    (tmp_path / "_index.yaml").write_text(PROJECT)
    settings = Settings(check(load(tmp_path, environ={})), {"API_URL": ""})
    assert settings.get("API_URL", "app") == "http://default"
