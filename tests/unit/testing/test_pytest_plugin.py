import os
import subprocess
import sys
from pathlib import Path

import pytest

from tasuki.testing.clock import FakeClock


def test_the_clock_fixture(tasuki_clock: FakeClock) -> None:
    tasuki_clock.advance(5)
    assert tasuki_clock.monotonic() == 5


def test_loading_it_imports_nothing_heavy() -> None:
    program = (
        "import sys, pytest; before = set(sys.modules); import tasuki.testing.pytest_plugin;"
        "print(' '.join(set(sys.modules) - before))"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert set(run.stdout.split()) <= {"tasuki", "tasuki.testing", "tasuki.testing.pytest_plugin"}


PYPROJECT = '[tool.tasuki]\napp = "jobs:app"\n[tool.pytest.ini_options]\nfilterwarnings = ["error"]\n'
JOBS = """
from tasuki import App

app = App("redis://localhost:1")
mails = app.queue("mails", str, dead_letter="dead")
sent = []


@mails.consumer
async def send(mail):
    sent.append(mail)
    if mail == "break":
        raise ValueError("broken")
"""
TESTS = """
import asyncio, pytest, jobs


@pytest.mark.anyio
async def test_async(tasuki_app):
    await jobs.mails.publish("ada", delay="1d")
    await tasuki_app.advance("1d")
    assert tasuki_app.settled(jobs.mails) == ["ack"]


def test_sync(tasuki_app):
    jobs.app.sync.publish(jobs.mails, "ada")
    assert tasuki_app.sync.drain().done == 1


def test_its_own_loop(tasuki_app):
    async def main():
        await jobs.mails.publish("ada")
        assert (await tasuki_app.drain()).done == 1

    asyncio.run(main())


def test_unread(tasuki_app):
    tasuki_app.sync.publish("mails", "break")
    tasuki_app.sync.drain()


def test_fails(tasuki_app):
    tasuki_app.sync.publish("mails", "break")
    tasuki_app.sync.drain()
    assert tasuki_app.published("mails") == ["eve"]
"""


def pytest_run(folder: Path, *arguments: str) -> str:
    (folder / "conftest.py").write_text(
        "import pytest\n\n\n@pytest.fixture\ndef anyio_backend():\n    return 'asyncio'\n"
    )
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:randomly", *arguments],
        cwd=folder, capture_output=True, text=True, check=False, timeout=60,
        env={key: value for key, value in os.environ.items() if not key.startswith(("PYTEST", "TASUKI"))},
    )  # fmt: skip
    return run.stdout + run.stderr


@pytest.mark.parametrize("arguments", [("-n0",), ("-n2",)], ids=["alone", "xdist"])
def test_the_app_fixture(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    for name, text in {"pyproject.toml": PYPROJECT, "jobs.py": JOBS, "test_jobs.py": TESTS}.items():
        (tmp_path / name).write_text(text)
    told = pytest_run(tmp_path, *arguments)
    assert "1 failed, 4 passed, 1 error" in told, told
    assert "ERROR test_jobs.py::test_unread - ValueError: broken" in told
    assert "FAILED test_jobs.py::test_fails" in told
    assert "app:mails: published ['break']; settled nack" in told


def test_the_app_fixture_without_a_project(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text("def test_it(tasuki_app):\n    pass\n")
    (tmp_path / "pyproject.toml").write_text("")
    assert 'no project to test: write app = "jobs:app" under [tool.tasuki]' in pytest_run(tmp_path, "-n0")


def test_the_app_fixture_with_a_target_of_its_own(tmp_path: Path) -> None:
    target = "import pytest, jobs\n\n\n@pytest.fixture\ndef tasuki_target():\n    return jobs.app\n\n\n"
    for name, text in {"pyproject.toml": "", "jobs.py": JOBS}.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "test_it.py").write_text(target + "def test_it(tasuki_app):\n    assert tasuki_app.app is jobs.app\n")
    assert "1 passed" in pytest_run(tmp_path, "-n0")
