"""``manage.py tasuki``: which words go where."""

from __future__ import annotations

import os
import sys
import sysconfig
from pathlib import Path

import django
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


def test_children_import_from_the_folders_that_manage_py_has_added(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    django_itself = os.path.dirname(django.__file__)
    monkeypatch.setattr(sys, "path", [str(tmp_path), "", str(tmp_path / "gone"), *sys.path])
    monkeypatch.setenv("PYTHONPATH", "lib")
    extend_path()
    extend_path()
    folders = os.environ["PYTHONPATH"].split(os.pathsep)
    assert folders[0] == str(tmp_path)
    assert folders.count(str(tmp_path)) == 1
    assert "lib" in folders
    assert not {django_itself, os.path.dirname(django_itself), sysconfig.get_path("stdlib"), os.getcwd()} & {*folders}


def test_call_command(capsys: pytest.CaptureFixture[str]) -> None:
    call_command("tasuki", "check")
    assert capsys.readouterr().out.startswith("ok: ")
    with pytest.raises(SystemExit):
        call_command("tasuki", "info", "nowhere")
