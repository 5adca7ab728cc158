"""Storages without a file of their own: values in the entry, and several storages in a row."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tasuki.errors import HandlerError
from tasuki.kinds.settings import Settings
from tests.unit.kinds.conftest import Make

STORAGES = """\
  - {name: os, kind: env.storage.os}
  - {name: memory, kind: env.storage.memory}
  - {name: static, kind: env.storage.static, values: {HOST: a.example, PORT: 25, DEBUG: false, EMPTY: ""}}
  - {name: inner, kind: env.storage.router, storages: [static, app:os]}
  - {name: router, kind: env.storage.router, storages: [memory, inner]}
  - {name: fixed, kind: env.storage.router, storages: [static, memory]}
  - {name: host, kind: env.variable, variable: HOST, storage: router}
  - {name: port, kind: env.variable, variable: PORT, storage: static}
  - {name: debug, kind: env.variable, variable: DEBUG, storage: static}
  - {name: home, kind: env.variable, variable: HOME_TOWN, storage: router}
  - {name: empty, kind: env.variable, variable: EMPTY, storage: router, default: none}
  - {name: closed, kind: env.variable, variable: CLOSED, storage: fixed}
"""


def test_a_router_reads_in_order_and_writes_to_its_first_storage(project: Make) -> None:
    settings = Settings(project(STORAGES), {"HOST": "os", "HOME_TOWN": "Nara"})
    names = ("HOST", "PORT", "DEBUG", "HOME_TOWN", "EMPTY", "CLOSED")
    assert [settings.get(name, "app") for name in names] == ["a.example", "25", "false", "Nara", "none", None]
    settings.set("HOST", "b.example", "app")
    assert (settings.get("HOST", "app"), settings.memory["app:memory"]) == ("b.example", {"HOST": "b.example"})
    settings.set("HOST", "", "app")  # unset again
    assert settings.get("HOST", "app") == "a.example"
    assert settings.all("app") == {
        "HOST": "a.example",
        "PORT": "25",
        "DEBUG": "false",
        "HOME_TOWN": "Nara",
        "EMPTY": "none",
    }


@pytest.mark.parametrize("name", ["PORT", "CLOSED"])
def test_values_of_an_entry_cannot_be_set(project: Make, name: str) -> None:
    settings = Settings(project(STORAGES), {})
    with pytest.raises(HandlerError, match="storage is read-only") as caught:
        settings.set(name, "x", "app")
    assert caught.value.kind == "PermissionDenied"


def test_placeholders_look_where_handlers_look(project: Make) -> None:
    text = "  - {name: d, kind: queue.driver.redis, addrs: '${env:HOST}:${env:PORT}', client_name: '${env:app:home}'}\n"
    checked = project(STORAGES + text, environ={"HOME_TOWN": "Nara"})
    fields = checked.configs["app:d"]
    assert (fields.addrs, fields.client_name) == ("a.example:25", "Nara")  # type: ignore[attr-defined]


def test_routers_that_lead_to_themselves_or_nowhere(problems: Callable[..., list[str]]) -> None:
    text = """\
  - {name: a, kind: env.storage.router, storages: [b]}
  - {name: b, kind: env.storage.router, storages: [a]}
  - {name: c, kind: env.storage.router, storages: []}
  - {name: d, kind: env.storage.router, storages: [nowhere]}
  - {name: e, kind: env.storage.static, values: {X: 1.5}}
  - {name: v, kind: env.variable, variable: V, storage: a}
  - {name: u, kind: queue.driver.redis, addrs: "${env:V}"}
"""
    found = "\n".join(problems(text))
    for said in (
        "app:a: entries refer to each other in a circle: 'app:a' → 'app:b' → 'app:a'",
        "app:c: storages",
        "refers to storage 'app:nowhere', which is not defined",
        "app:e: values.X must be text, not something else",
        "the variable 'V' is not set",
    ):
        assert said in found


def test_no_problem_shows_a_setting_or_a_secret_that_has_lost_its_colon(problems: Callable[..., list[str]]) -> None:
    text = """\
  - {name: a, kind: env.storage.static, values: S3cret}
  - {name: b, kind: env.storage.static, values: {X: 4711.5, Y: [S3cret], Z: {s: S3cret}}}
  - {name: c, kind: env.storage.static, valuse: {X: S3cret}}
  - {name: d, kind: queue.driver.memory, password S3cret: 1}
"""
    found = "\n".join(problems(text))
    assert "S3cret" not in found
    assert "4711" not in found
    assert "unknown field 'password ***'" in found
