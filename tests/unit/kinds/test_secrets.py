"""Broken configuration never shows what stands in the place of a secret, nor what a placeholder held."""

from __future__ import annotations

import json
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args, get_origin

import pytest

from tasuki.drivers.redis.settings import RedisSettings
from tasuki.errors import ConfigError, TasukiError
from tasuki.fields.types import Config, DriverKind
from tasuki.kinds.build import build_driver
from tasuki.kinds.check.code import problems_of_code
from tasuki.kinds.check.project import check
from tasuki.kinds.kind import find_kind, kind_names
from tasuki.registry.loader import load
from tests.support.settings import parsed

SECRET = "hunter2secret"

PLACES = {
    "amqp url": "kind: queue.driver.amqp\n    url: {}",
    "redis url": "kind: queue.driver.redis\n    url: {}",
    "redis password": "kind: queue.driver.redis\n    password: {}",
    "redis sentinel_password": "kind: queue.driver.redis\n    sentinel_password: {}",
    "postgres url": "kind: queue.driver.postgres\n    url: {}",
    "postgres listen_url": "kind: queue.driver.postgres\n    listen_url: {}",
    "nats servers": "kind: queue.driver.nats\n    servers: {}",
    "nats server": "kind: queue.driver.nats\n    servers:\n      - {}",
    "nats password": "kind: queue.driver.nats\n    password: {}",
    "nats token": "kind: queue.driver.nats\n    token: {}",
    "aws key": "kind: config.aws\n    access_key_id: {}",
    "aws secret": "kind: config.aws\n    secret_access_key: {}",
    "aws token": "kind: config.aws\n    session_token: {}",
    "signing": "kind: queue.queue\n    signing: {}",
    "signing keys": "kind: queue.queue\n    signing:\n      keys: {}",
    "signing key": "kind: queue.queue\n    signing:\n      keys:\n        - {}",
    "signing secret": "kind: queue.queue\n    signing:\n      keys:\n        - id: a\n          secret: {}",
}
FORMS = [
    "*SECRET", "!SECRET", "!SECRET x", "!!SECRET x", "!<SECRET> x", "!SECRET [x]", "&SECRET", "&SECRET [*SECRET]",
    '"SECRET', "'SECRET", "@SECRET", "%SECRET", "`SECRET`", "|SECRET", ">SECRET", "{SECRET", "[SECRET", "]SECRET",
    "x: SECRET", "- SECRET", "SECRET: x", "SECRET\n   SECRET", "SECRET\n\tSECRET: x", '"\\SECRET"',
    "[SECRET]", "[[SECRET]]", "[{SECRET: 1}]", "{SECRET: 1}", "{SECRET: 1, SECRET: 2}", "{SECRET}", "{x: SECRET}",
    "{id: a, SECRET}", "{id: a, secret:SECRET}", "{id: a, sekret: SECRET}", "{id: SECRET!, secret: x}", "[x, SECRET]",
    "{id: a, secret: [SECRET]}", "{id: a, secret: {SECRET: 1}}", "{keys: SECRET}", "{keys: [SECRET]}",
    "{id: [SECRET]}", "{<<: SECRET}", "{<<: [SECRET]}",
    "SECRET", '"SECRET"', "SECRET!", "http://x:SECRET@h", "'http://h:SECRET'", "'redis://h/SECRET'",
    "'redis://h?db=SECRET'", "'unix:///run/x?db=SECRET'", "'redis://x:SECRET/x@h'", "'redis://x:SECRET@h:port'",
    "'rediss://x:SECRET@h:99999'", "'amqp://x:SECRET@'", "'amqp://x:SECRET@h:0'", "'nats://x:SECRET@h:x'",
    "'postgresql://x:SECRET@h:x'", "'postgresql://h?port=SECRET'", "'postgresql://x:SECRET#y@h'",
    "${env:UNSET}SECRET", "${env:SECRET", "${env:}SECRET", "${env:UNSET|${env:SECRET}}", "${env:WORD}", "[${env:WORD}]",
    "'${env:WORD}://h'", "${env:ADDRESS}", "'redis://h/${env:WORD}'", "'x\0SECRET'",
]  # fmt: skip


def complaints(folder: Path, text: str, **options: Any) -> list[str]:
    """All that loading, checking, reading the code and making the drivers complain of."""
    (folder / "p.yaml").write_text("namespace: app\nentries:\n" + text)
    try:
        project = check(load(folder, **options))
        found: list[TasukiError] = list(problems_of_code(project))
        for id, kind in project.kinds.items():
            if isinstance(kind, DriverKind):
                build_driver(project, id, None)  # type: ignore[arg-type]
    except TasukiError as error:
        found = getattr(error, "errors", [error])
    return [f"{error} {error.hint}" if isinstance(error, ConfigError) else str(error) for error in found]


@pytest.mark.parametrize("place", PLACES)
def test_what_stands_in_the_place_of_a_secret_is_not_shown(tmp_path: Path, place: str) -> None:
    environ = {"WORD": SECRET, "ADDRESS": f"ftp://me:{SECRET}@h"}
    for form in FORMS:
        text = f"  - name: e\n    {PLACES[place].replace('{}', form.replace('SECRET', SECRET))}\n"
        for complaint in complaints(tmp_path, text, environ=environ):
            assert SECRET not in complaint, f"{form}: {complaint}"


def fields_of(model: type[Config], path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """The path of every value that entries of a model may have; lists and mappings with one item."""
    for name, field in model.model_fields.items():
        yield from _paths(field.annotation, (*path, field.alias or name))


def _paths(annotation: Any, path: tuple[str | int, ...]) -> Iterator[tuple[str | int, ...]]:
    yield path
    origin, inner = get_origin(annotation), get_args(annotation)
    if isinstance(annotation, type) and issubclass(annotation, Config):
        yield from fields_of(annotation, path)
    elif origin is list:
        yield from _paths(inner[0], (*path, 0))
    elif origin is dict:
        yield from _paths(inner[1], (*path, "x"))
    else:
        for each in inner if origin is types.UnionType or origin is not None else ():
            yield from set(_paths(each, path)) - {path}


def nested(path: tuple[str | int, ...], value: Any) -> Any:
    """The value at a path of new lists and mappings."""
    for step in reversed(path):
        value = [value] if step == 0 else {step: value}
    return value


@pytest.mark.parametrize("name", kind_names())
@pytest.mark.parametrize("value", ["${env:WORD}", "file://${env:WORD}", "${env:LONG}"])
def test_what_a_placeholder_held_is_not_shown(tmp_path: Path, name: str, value: str) -> None:
    environ = {"WORD": SECRET, "LONG": f"{SECRET}! " * 100}
    for path in fields_of(find_kind(name).model):
        entry = {"kind": name, **nested(path, value)}
        text = "".join(f"  - {json.dumps(dict(entry, name=own))}\n" for own in ("one", "two"))
        for complaint in complaints(tmp_path, text, environ=environ):
            assert SECRET not in complaint, f"{path}: {complaint}"


@pytest.mark.parametrize("override", ["app:e:password:{}", "app:e:password {}", "app:e:password={{{}: 1"])
def test_an_override_that_is_broken_is_not_shown(tmp_path: Path, override: str) -> None:
    (complaint, *_) = complaints(tmp_path, "  - {name: e, kind: x}\n", overrides=[override.format(f"x{SECRET}")])
    assert complaint.startswith("-o ")
    assert SECRET not in complaint


def test_the_database_of_a_url_is_not_shown_by_the_driver_either() -> None:
    for url in (f"redis://h/{SECRET}", f"unix:///run/x?db={SECRET}"):
        with pytest.raises(ValueError, match="number of a database") as caught:
            parsed(RedisSettings, url=url)
        assert SECRET not in str(caught.value)
