"""``manage.py tasuki``: which words go where."""

from __future__ import annotations

import os

import pytest
from django.core.management import call_command

from tasuki.contrib.django.management.commands.tasuki import extend_path, split, words_of


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ([], ["run"]),
        (["--reload", "--processes", "2"], ["run", "--reload", "--processes", "2"]),
        (["queues", "--json"], ["queues", "--json"]),
        (["--help"], ["run", "--help"]),
        (["--version"], ["--version"]),
    ],
)
def test_without_a_command_it_is_run(words: list[str], line: list[str]) -> None:
    assert words_of(words) == line


def test_the_options_of_django_are_taken_out() -> None:
    options, rest = split(["--reload", "--settings", "shop.test", "--pythonpath=lib", "--queues", "mails"])
    assert (options.settings, options.pythonpath) == ("shop.test", "lib")
    assert rest == ["--reload", "--queues", "mails"]
    assert split(["--settings"])[0].settings is None


def test_children_find_the_project_from_any_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "lib")
    extend_path(os.getcwd())
    assert os.environ["PYTHONPATH"] == "lib"
    extend_path("/srv/shop")
    extend_path("/srv/shop")
    assert os.environ["PYTHONPATH"] == f"/srv/shop{os.pathsep}lib"


def test_call_command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TASUKI_PROJECT", raising=False)
    call_command("tasuki", "check")
    assert capsys.readouterr().out.startswith("ok: ")
    with pytest.raises(SystemExit):
        call_command("tasuki", "info", "nowhere")
    monkeypatch.delenv("TASUKI_PROJECT")
