"""The projects that ``init`` makes: their tests pass, and their workers work."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.process import run, run_json

pytestmark = pytest.mark.e2e
MESSAGES = {
    "--python": ("mails", '{"to": "ada@example.com"}', "Welcome, ada@example.com!"),
    "--yaml": ("tasks", '{"name": "Ada"}', "Hello, Ada!"),
    "--lua": ("tasks", '{"name": "Ada"}', "Hello, Ada!"),
    "--fastapi": ("mails", '{"to": "ada@example.com"}', "Welcome, ada@example.com!"),
}
"""Template → a queue, a body, and what its handler logs."""


def pytest_in(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments],
        cwd=folder,
        env={name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "COVERAGE"))},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("template", list(MESSAGES))
def test_a_new_project_is_good_and_its_worker_works(tmp_path: Path, template: str) -> None:
    made = run("init", "My shop", template, folder=tmp_path)
    assert made.returncode == 0, made.stderr
    assert "  cd 'My shop'\n" in made.stdout
    shop = tmp_path / "My shop"
    for name in (".gitignore", ".dockerignore"):
        assert ".env" in (shop / name).read_text().splitlines()
    readme = (shop / "README.md").read_text()
    assert readme.startswith("# My-shop\n")
    assert len(readme.splitlines()) <= 10
    assert run_json("check", folder=shop) == []
    queue, body, logged = MESSAGES[template]
    assert run("publish", queue, body, folder=shop).returncode == 0
    ran = run("run", "--until-empty", folder=shop)
    assert ran.returncode == 0, ran.stderr
    assert logged in ran.stderr
    assert not list(shop.rglob("__name__*"))
    assert not any("__name__" in path.read_text() for path in shop.iterdir() if path.is_file())


@pytest.mark.parametrize("template", ["--yaml", "--lua"])
def test_the_tests_of_entries_pass(tmp_path: Path, template: str) -> None:
    assert run("init", "shop", template, folder=tmp_path).returncode == 0
    results = run_json("test", folder=tmp_path / "shop")
    assert [set(result) for result in results] == [{"id", "suite", "status", "error", "seconds"}] * len(results)
    assert {result["status"] for result in results} == {"passed"}


def test_the_tests_of_a_python_project_pass(tmp_path: Path) -> None:
    assert run("init", "shop", folder=tmp_path).returncode == 0  # Python is the default
    done = pytest_in(tmp_path / "shop")
    assert "1 passed" in done.stdout, done.stdout + done.stderr
    assert not (tmp_path / "shop" / ".tasuki").exists()


def test_the_tests_of_a_web_application_pass(tmp_path: Path) -> None:
    assert run("init", "shop", "--fastapi", folder=tmp_path).returncode == 0
    done = pytest_in(tmp_path / "shop")
    assert "2 passed" in done.stdout, done.stdout + done.stderr


def test_init_touches_no_folder_with_files(tmp_path: Path) -> None:
    (tmp_path / "x").touch()
    done = run("init", ".", folder=tmp_path)
    assert (done.returncode, "is not empty; name a new folder" in done.stderr) == (1, True)
