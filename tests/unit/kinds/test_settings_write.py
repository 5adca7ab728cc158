"""Setting declared environment variables, in memory and in files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tasuki.errors import HandlerError
from tasuki.kinds.check.project import check
from tasuki.kinds.settings import Settings
from tasuki.registry.loader import load

PROJECT = """
namespace: app
entries:
  - {name: os, kind: env.storage.os}
  - {name: memory, kind: env.storage.memory}
  - {name: file, kind: env.storage.file, file_path: settings.env}
  - {name: made, kind: env.storage.file, file_path: deep/made.env, auto_create: true, file_mode: 0600, dir_mode: 0700}
  - {name: home, kind: env.variable, variable: HOME_TOWN, default: Kyoto}
  - {name: plain, kind: env.variable, variable: PLAIN, storage: os}
  - {name: note, kind: env.variable, variable: NOTE, storage: memory, default: remembered}
  - {name: fixed, kind: env.variable, variable: FIXED, storage: memory, default: "1", readonly: true}
  - {name: token, kind: env.variable, variable: TOKEN, storage: file}
  - {name: fresh, kind: env.variable, storage: made}
"""
ENVIRON = {"HOME_TOWN": "Nara", "PLAIN": "p", "UNDECLARED": "x"}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / "_index.yaml").write_text(PROJECT)
    return Settings(check(load(tmp_path, environ={})), ENVIRON)


def test_memory_keeps_what_is_set_also_over_a_reload(settings: Settings, tmp_path: Path) -> None:
    settings.set("NOTE", "new", "app")
    assert settings.get("app:note", "other") == "new"
    assert Settings(check(load(tmp_path, environ={})), ENVIRON, kept=settings).get("NOTE", "app") == "new"
    settings.set("note", "", "app")  # an empty text counts as unset
    assert settings.get("NOTE", "app") == "remembered"


@pytest.mark.parametrize("value", ["a=b", " blank ", "'quoted'", '"', "#", "", 'a"', "ü"])
def test_a_file_keeps_its_other_lines(settings: Settings, tmp_path: Path, value: str) -> None:
    path = tmp_path / "settings.env"
    path.write_text("# a comment\nOTHER = 1\nTOKEN = old\nodd line\n", "utf-8")
    path.chmod(0o640)
    settings.set("TOKEN", value, "app")
    assert settings.get("TOKEN", "app") == (value or None)
    assert path.read_text("utf-8").splitlines()[:3] == ["# a comment", "OTHER = 1", "odd line"]
    assert path.stat().st_mode & 0o777 == 0o640
    assert sorted(os.listdir(tmp_path)) == ["_index.yaml", "settings.env"]


def test_a_missing_file_is_made_if_it_says_so(settings: Settings, tmp_path: Path) -> None:
    settings.set("fresh", "v", "app")
    path = tmp_path / "deep" / "made.env"
    assert path.read_text() == "fresh=v\n"
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert [file.name for file in path.parent.iterdir()] == ["made.env"]


def test_a_link_is_not_replaced_nor_written_through(settings: Settings, tmp_path: Path) -> None:
    target = tmp_path / "theirs"
    target.write_text("TOKEN=1\n")
    (tmp_path / "settings.env").symlink_to(target)
    with pytest.raises(HandlerError, match=r"settings\.env cannot be written: it is a symbolic link") as caught:
        settings.set("TOKEN", "v", "app")
    assert caught.value.kind == "Unavailable"
    assert (target.read_text(), settings.get("TOKEN", "app")) == ("TOKEN=1\n", "1")


@pytest.mark.parametrize(
    ("name", "value", "kind", "message"),
    [
        ("NOWHERE", "v", "NotFound", "environment variable not found"),
        ("UNDECLARED", "v", "NotFound", "environment variable not found"),
        ("FIXED", "v", "PermissionDenied", "environment variable is read-only"),
        ("HOME_TOWN", "v", "PermissionDenied", "storage is read-only"),
        ("PLAIN", "v", "PermissionDenied", "storage is read-only"),
        ("TOKEN", "v", "Unavailable", "file settings.env is missing; auto_create makes it"),
        ("fresh", "two\nlines", "Invalid", "a setting in a file must be one line KEY=VALUE"),
        ("fresh", "end\n", "Invalid", "a setting in a file must be one line KEY=VALUE"),
        ("fresh", "\ud800", "Invalid", "a setting in a file must be one line KEY=VALUE"),
        ("fresh", "\0", "Invalid", "a setting in a file must be one line KEY=VALUE"),
    ],
)
def test_what_cannot_be_set(settings: Settings, name: str, value: str, kind: str, message: str) -> None:
    with pytest.raises(HandlerError) as raised:
        settings.set(name, value, "app")
    assert (raised.value.kind, raised.value.message) == (kind, message)


def test_a_file_that_cannot_be_written(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "settings.env").mkdir()
    with pytest.raises(HandlerError, match=r"file settings\.env cannot be written: Is a directory") as raised:
        settings.set("TOKEN", "v", "app")
    assert raised.value.retryable


@pytest.mark.parametrize(
    ("content", "place"),
    [
        (b"\xff", "settings.env:1:1: byte 0xff"),
        ("TOKEN=ü\nMORE=é".encode() + b"\xe9\n", "settings.env:2:7: byte 0xe9"),
        (b"\xff\xfeT\0", "settings.env:1:1: byte 0xff"),
    ],
)
def test_a_file_that_is_not_unicode(settings: Settings, tmp_path: Path, content: bytes, place: str) -> None:
    path = tmp_path / "settings.env"
    path.write_bytes(content)
    ways = (
        lambda: settings.get("TOKEN", "app"),
        lambda: settings.all("app"),
        lambda: settings.set("TOKEN", "v", "app"),
    )
    for way in ways:
        with pytest.raises(HandlerError) as raised:
            way()
        assert raised.value.message == f"{place} is not UTF-8; save the file as UTF-8"
        assert (raised.value.kind, raised.value.retryable) == ("Invalid", False)
    assert path.read_bytes() == content


def test_a_file_that_cannot_be_read_is_not_taken_for_an_empty_one(settings: Settings, tmp_path: Path) -> None:
    assert settings.get("TOKEN", "app") is None  # there is none
    (tmp_path / "settings.env").mkdir()
    with pytest.raises(HandlerError, match=r"file settings\.env cannot be read: Is a directory") as raised:
        settings.get("TOKEN", "app")
    assert (raised.value.kind, raised.value.retryable) == ("Unavailable", True)


def test_all_is_what_is_declared_and_what_storages_of_the_project_hold(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "settings.env").write_text("TOKEN=t\nMORE=m\nEMPTY=\n")
    settings.set("NOTE", "new", "app")
    settings.set("fresh", "f", "app")
    assert settings.all("app") == {
        "HOME_TOWN": "Nara",
        "PLAIN": "p",
        "NOTE": "new",
        "FIXED": "1",
        "TOKEN": "t",
        "MORE": "m",
        "fresh": "f",
        "app:fresh": "f",
    }
