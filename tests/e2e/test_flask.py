"""The example in Flask: its test client, its worker, and gunicorn that loads it before it forks."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.support.ports import free_port
from tests.support.process import TIMEOUT, Process, environ, wait_until
from tests.support.serving import serving

pytestmark = pytest.mark.e2e
EXAMPLE = Path(__file__).parents[2] / "examples" / "flask"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(EXAMPLE, tmp_path / "flask"))


def flask(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "flask", "--app", "web", *arguments]
    return subprocess.run(
        command, cwd=folder, env=environ(), capture_output=True, text=True, timeout=TIMEOUT, check=False
    )


def depth(folder: Path) -> int:
    done = flask(folder, "tasuki", "info", "mails", "--json")
    assert done.returncode == 0, done.stderr
    return int(json.loads(done.stdout)["message_count"])


def test_a_worker_handles_what_the_web_application_publishes(folder: Path) -> None:
    code = (
        "from web import web; answer = web.test_client().post('/mails', data={'to': 'ada'}); print(answer.status_code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=environ(), capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "202"
    assert depth(folder) == 1
    ran = flask(folder, "tasuki", "--until-empty", "--processes", "2")
    assert ran.returncode == 0, ran.stderr
    assert (folder / "sent.txt").read_text() == "Welcome, ada\n"


def test_reload_takes_a_changed_handler(folder: Path) -> None:
    command = [sys.executable, "-m", "flask", "--app", "web", "tasuki", "--reload"]
    worker = Process([], folder, command=command)
    try:
        worker.wait_for("running; stop with")
        source = folder / "web.py"
        source.write_text(source.read_text().replace('{subject}, {to}\\n")', '{subject} again, {to}\\n")'))
        worker.wait_for("web changed: restarting")
        worker.wait_for("running; stop with")
        subprocess.run(
            [sys.executable, "-c", "from web import send, tasuki; send.send('ada'); tasuki.app.sync.close()"],
            cwd=folder,
            env=environ(),
            check=True,
        )
        wait_until((folder / "sent.txt").exists, "the mail")
        assert (folder / "sent.txt").read_text() == "Welcome again, ada\n"
    finally:
        worker.kill()


def test_gunicorn_that_loads_it_before_it_forks(folder: Path) -> None:
    """The application publishes at its import too: each child opens the App again."""
    (folder / "wsgi.py").write_text("from web import send, web\n\nsend.send('parent')\n")
    port = free_port()
    command = [sys.executable, "-m", "gunicorn", "--preload", "--workers", "3", "--bind", f"127.0.0.1:{port}"]
    with serving([*command, "wsgi:web"], folder, port):
        answers = [httpx.post(f"http://127.0.0.1:{port}/mails", data={"to": str(number)}) for number in range(12)]
    assert [answer.status_code for answer in answers] == [202] * 12
    assert len({answer.json()["id"] for answer in answers}) == 12
    assert depth(folder) == 13
    assert flask(folder, "tasuki", "--until-empty").returncode == 0
    sent = (folder / "sent.txt").read_text().split("\n")[:-1]
    assert sorted(sent) == sorted(f"Welcome, {name}" for name in ["parent", *map(str, range(12))])


def test_another_command_and_an_application_without_it(folder: Path) -> None:
    assert "app:mails" in flask(folder, "tasuki", "queues").stdout
    (folder / "web.py").write_text("from flask import Flask\n\nweb = Flask('web')\n")
    done = flask(folder, "tasuki")
    assert done.returncode == 2
    assert "No such command 'tasuki'" in done.stderr
    variables = {**environ(), "FLASK_APP": "web", "TASUKI_PROJECT": "tasuki.contrib.flask:app"}
    checked = subprocess.run(
        [sys.executable, "-m", "tasuki", "check"],
        cwd=folder,
        env=variables,
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT,
    )
    assert checked.returncode == 3
    assert "the Flask application 'web' has no Tasuki: write Tasuki(app) where it is made" in checked.stderr
