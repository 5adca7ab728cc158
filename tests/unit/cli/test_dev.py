"""``tasuki dev`` serves the desk where it can, and works without it."""

from __future__ import annotations

import json
import socket
import urllib.request
from pathlib import Path

import pytest

from tasuki import App
from tasuki.cli.commands.work import run
from tasuki.cli.exits import CommandError
from tasuki.cli.worker.admin import Admin
from tasuki.system import extras
from tests.unit.cli.conftest import CommandLine


@pytest.fixture
def app(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> App:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.delenv("TASUKI_ADMIN_TOKEN", raising=False)
    return App.load(project)


def test_the_desk_is_on_the_first_free_port(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        monkeypatch.setattr(run, "DEFAULT", f"127.0.0.1:{port}")
        with run._desk(app, Admin(), is_wanted=True) as (begin, line):
            assert begin is not None
            begin()
            address, _, token = line.partition("?token=")
            with urllib.request.urlopen(f"{address}livez", timeout=30) as answer:
                assert json.load(answer).keys() == {"status", "live", "ready"}
    assert address.startswith("http://127.0.0.1:")
    assert address != f"http://127.0.0.1:{port}/"
    assert len(token) == 43


def test_without_a_free_port_it_works_all_the_same(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        monkeypatch.setattr(run, "DEFAULT", f"127.0.0.1:{port}")
        monkeypatch.setattr(run, "_PORTS", 1)
        with run._desk(app, Admin(), is_wanted=True) as (begin, line):
            assert begin is None
    assert line == f"none: the ports {port} to {port} are taken; give --admin HOST:PORT"


def test_without_the_extra_it_works_all_the_same(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(extras.PACKAGES, "desk", ("tasuki.no_such_package", "no_such_package"))

    with run._desk(app, Admin(), is_wanted=True) as (begin, line):
        assert begin is None
    assert line == "none: the desk needs tasuki-desk, no_such_package: pip install 'tasuki[desk]'"


def test_what_is_asked_for_is_done_or_refused(app: App, tasuki: CommandLine, tmp_path: Path) -> None:
    with run._desk(app, Admin(), is_wanted=False) as found:
        assert found == (None, "none")
    both = tasuki("dev", "--no-desk", "--admin", "127.0.0.1:0")
    assert (both.returncode, "give --admin or --no-desk" in both.stderr) == (2, True)
    with (
        pytest.raises(CommandError, match="--admin-token-file"),
        run._desk(app, Admin(token_file=tmp_path / "nothing"), is_wanted=True),
    ):
        pass
