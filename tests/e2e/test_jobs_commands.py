"""tasuki cancel, status and result, as processes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.process import run, run_json

pytestmark = pytest.mark.e2e

CODE = """
from tasuki import App

app = App()
jobs = app.queue("jobs", result="1h")
app.queue("plain")

@jobs.consumer
def work(body: int) -> int:
    return 10 // body
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "jobs.py").write_text(CODE)
    return tmp_path


def test_a_job_from_its_publish_to_its_result(project: Path) -> None:
    run_json("publish", "jobs", "5", "--id", "five", folder=project)
    run_json("publish", "jobs", "2", "--id", "two", folder=project)
    assert run_json("status", "five", folder=project)["status"] == "waiting"
    assert run("cancel", "two", folder=project).stdout == "waiting\n"
    assert run("run", "--until-empty", folder=project).returncode == 0
    assert run("result", "five", "--queue", "jobs", folder=project).stdout == "2\n"
    assert run_json("status", "five", folder=project) == {
        "id": "five",
        "queue": "app:jobs",
        "status": "done",
        "progress": None,
    }
    assert run_json("status", "two", folder=project)["status"] == "cancelled"
    refused = run("result", "two", "--queue", "jobs", folder=project)
    assert (refused.returncode, "the message was cancelled" in refused.stderr) == (1, True)


def test_many_are_cancelled_from_a_file(project: Path) -> None:
    ids = [f"message {number}" for number in range(5)]
    for id in ids[:3]:
        run_json("publish", "plain", "1", "--id", id, folder=project)
    (project / "ids.txt").write_text("\n".join(ids))
    found = run("cancel", "--queue", "plain", "--file", "ids.txt", folder=project)
    assert found.stdout == "5 messages: 3 waiting, 2 not found\n"


@pytest.mark.parametrize("words", [("cancel", "two"), ("signal", "approved", "7")])
def test_a_project_in_the_memory_of_another_process_is_refused(project: Path, words: tuple[str, ...]) -> None:
    (project / "jobs.py").write_text(CODE.replace("App()", 'App("memory://")'))
    refused = run(*words, folder=project)
    assert refused.returncode == 1
    assert "it lives in the memory of the process that runs it" in refused.stderr


def test_what_is_missing(project: Path) -> None:
    assert "give an ID, or --file" in run("cancel", folder=project).stderr
    assert "give --queue" in run("cancel", "a", "b", folder=project).stderr
    unknown = run("status", "nothing", folder=project)
    assert (unknown.returncode, "knows message 'nothing'" in unknown.stderr) == (1, True)
    assert "keeps no results: write" in run("result", "a", "--queue", "plain", folder=project).stderr
