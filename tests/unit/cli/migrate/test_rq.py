"""A project of RQ: the rewritten program runs, a second run changes nothing, and all other places are listed."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from tasuki.cli.migrate.plan import plan
from tasuki.testing import TestApp
from tests.unit.cli.migrate.projects import RQ, read, write

HEAD = "from redis import Redis\nfrom rq import Queue, Retry\nq = Queue(connection=Redis())\ndef add(x: int): ...\n"


@pytest.mark.usefixtures("imported")
def test_the_rewritten_program_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "redis", SimpleNamespace(Redis=dict))  # no requirement of the suite
    plan(
        "rq",
        write(tmp_path, {name.replace("app/", "rqapp/"): text.replace("app.", "rqapp.") for name, text in RQ.items()}),
    ).write()
    worker, jobs = importlib.import_module("rqapp.tasuki_worker"), importlib.import_module("rqapp.jobs")
    web = importlib.import_module("rqapp.web")

    with TestApp(worker.app) as t:
        assert web.upload("sea.png")
        run = t.sync.advance("1m")
        assert (run.done, run.failed, run.dead) == (2, 3, 1)  # the retries of the call count
        assert [each for each in jobs.SEEN if each != "monday"] == [("sea.png", 200), ("sea.png", 100)]
        assert jobs.SEEN.count("monday") == 3


def test_nothing_of_rq_is_left_and_a_second_run_changes_nothing(tmp_path: Path) -> None:
    plan("rq", write(tmp_path, RQ)).write()
    before = read(tmp_path)

    assert [name for name, text in before.items() if "rq" in text.lower().replace("as in rq", "")] == []
    assert (tmp_path / "Procfile").read_text() == "worker: tasuki run app.tasuki_worker:app --queues default,low\n"
    assert plan("rq", tmp_path).texts == {}


def test_types_that_are_missing_are_to_check(tmp_path: Path) -> None:
    made = plan("rq", write(tmp_path, RQ))

    assert [(place.line, place.task, place.write) for place in made.places if place.state == "check"] == [
        (9, "report", "annotate them, as in day: str")
    ]


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("q.enqueue(name)", "enqueue(…): its function is unknown"),
        ("q.enqueue('jobs.' + name, 1)", "enqueue(…): its function is unknown"),
        ("other.enqueue(add, 1)", "enqueue(…): its queue is unknown"),
        ("q.enqueue(add, 1, depends_on=job)", "the option depends_on=job"),
        ("q.enqueue(add, 1, at_front=True)", "the option at_front=True"),
        ("q.enqueue(add, 1, on_failure=print)", "the option on_failure=print"),
        ("q.enqueue(add, 1, job_timeout=-1)", "the option job_timeout=-1"),
        ("q.enqueue(add, 1, retry=Retry(3, [1, 5]))", "the option retry=Retry(3, [1, 5])"),
        ("job = q.enqueue(add, 1)\nprint(job.result)", "the result is used: job.result"),
        ("q.enqueue(add, 1)\nQueue('low').enqueue(add, 1)", "is enqueued in several queues: default, low"),
        ("q.enqueue(add, 1)\nq.empty()", "q.empty of a queue"),
        ("from rq import get_current_job\nget_current_job()", "rq.get_current_job"),
        ("from rq import Worker\nWorker([q]).work()", "rq.Worker"),
        ("from rq_scheduler import Scheduler\nScheduler()", "rq_scheduler.Scheduler"),
        ("from rq.job import Job\nJob.fetch('1')", "rq.job.Job.fetch"),
    ],
)
def test_a_place_that_is_not_rewritten_is_listed(tmp_path: Path, text: str, what: str) -> None:
    made = plan("rq", write(tmp_path, {"jobs.py": HEAD + text + "\n"}))

    assert what in [place.what for place in made.by_hand]
    assert all(task.stays for task in made.tasks) or "add" not in what


@pytest.mark.parametrize(
    ("text", "after"),
    [
        ("q.enqueue(add, args=(1,), ttl=60)", "add.with_options(ttl=60).send(1)"),
        ("q.enqueue_call(func=add, kwargs={'x': 1}, timeout=5)", "add.with_options(handler_timeout=5).send(x=1)"),
        ("q.enqueue('jobs.add', x=1, job_id='a')", "add.with_options(id='a').send(x=1)"),
        ("q.enqueue_at(when, add, 1)", "add.with_options(at=when).send(1)"),
        ("q.enqueue(add, 1, result_ttl=0, retry=Retry(max=2))", "add.with_options(retries=Retries(3)).send(1)"),
        ("def get():\n    return q\nget().enqueue(add, 1)", "add.send(1)"),
        ("class A:\n    pass\nA.q = Queue('default')\nA.q.enqueue(add, 1)", "add.send(1)"),
    ],
)
def test_a_call_is_rewritten(tmp_path: Path, text: str, after: str) -> None:
    made = plan("rq", write(tmp_path, {"jobs.py": HEAD + text + "\n"}))

    assert made.texts["jobs.py"].rstrip().endswith(after), made.by_hand
    assert "@default.task\ndef add" in made.texts["jobs.py"]


def test_the_decorator_is_rewritten(tmp_path: Path) -> None:
    text = "from rq.decorators import job\n@job('low', connection=c, timeout=5, retry=Retry(max=1))\n"
    text += "def b(x: int): ...\nb.delay(1)\n"
    made = plan("rq", write(tmp_path, {"jobs.py": HEAD + text}))

    assert made.texts["jobs.py"].endswith(
        "@low.task(handler_timeout=5, retry=Retries(2))\ndef b(x: int): ...\nb.send(1)\n"
    )
    assert "rq" not in made.texts["jobs.py"]
