"""A project of Celery: the rewritten program runs, a second run changes nothing, and all other places are listed."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest

from tasuki.cli.migrate.plan import Migration, plan
from tasuki.testing import TestApp
from tests.unit.cli.migrate.projects import CELERY, read, write


def moved(folder: Path, files: dict[str, str]) -> Migration:
    made = plan("celery", write(folder, files))
    made.write()
    return made


def by_hand(folder: Path, text: str, **others: str) -> list[tuple[int, str, str]]:
    """Line, text and line to write of each place of a module that has an app and a task add."""
    head = "from celery import Celery, shared_task, chain, signals\nfrom celery.schedules import crontab\n"
    head += "app = Celery('shop', broker='redis://h')\n"
    made = plan("celery", write(folder, {"tasks.py": head + text, **others}))
    return [(place.line - 3, place.what, place.write) for place in made.by_hand]


ADD = "@app.task\ndef add(x, y):\n    return x + y\n"


@pytest.mark.usefixtures("imported")
def test_the_rewritten_program_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", "memory://")
    made = moved(tmp_path, CELERY)
    worker, tasks = importlib.import_module("shop.tasuki_worker"), importlib.import_module("shop.tasks")
    orders: Any = importlib.import_module("shop.orders")

    with TestApp(worker.app) as t:
        orders.order("ada", "sea")
        tasks.send_mail.send("nobody")
        tasks.fetch.send("down")
        tasks.fetch.send("")
        run = t.sync.advance("70s", steps=5_000)
        assert (run.failed, run.dead) == (5, 2)  # a mail at once, a fetch after four attempts
        assert ("mail", "ada", "Order of ada", 0) in tasks.SEEN
        assert tasks.SEEN.count(("fetch", "down", False)) == 4
        tasks.SEEN.clear()
        t.sync.advance("1h", steps=5_000)
        assert tasks.SEEN.count(("ping",)) == 120
        assert tasks.SEEN.count(("clean", 7)) == 2

    assert [task.stays for task in made.tasks] == [False] * 4
    assert [place.file for place in made.by_hand] == ["Procfile"]  # of celery beat


@pytest.mark.anyio
@pytest.mark.usefixtures("imported")
async def test_rewritten_async_code_publishes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", "memory://")
    moved(tmp_path, CELERY)
    worker, orders = importlib.import_module("shop.tasuki_worker"), importlib.import_module("shop.orders")

    async with TestApp(worker.app) as t:
        assert await orders.order_soon("sea")
        assert len(t.published("jobs")) == 2


def test_nothing_of_celery_is_left(tmp_path: Path) -> None:
    moved(tmp_path, CELERY)
    files = read(tmp_path)

    assert [name for name, text in files.items() if "celery" in text.lower().replace("as in celery", "")] == []
    assert (tmp_path / "Procfile").read_text().splitlines()[1] == (
        "worker: tasuki run shop.tasuki_worker:app --concurrency 4 --queues jobs,mails"
    )


def test_a_second_run_changes_nothing(tmp_path: Path) -> None:
    moved(tmp_path, CELERY)
    before = read(tmp_path)
    again = moved(tmp_path, {})

    assert again.texts == {}
    assert read(tmp_path) == before


def test_nothing_is_changed_without_write(tmp_path: Path) -> None:
    made = plan("celery", write(tmp_path, CELERY))

    assert read(tmp_path) == {name: text for name, text in CELERY.items() if name != "Procfile"}
    assert set(made.texts) == {
        *("Procfile", "shop/celery_app.py", "shop/orders.py", "shop/tasks.py", "shop/tasuki_app.py"),
        "shop/tasuki_worker.py",
    }


def test_lines_end_as_before(tmp_path: Path) -> None:
    moved(tmp_path, {name: text.replace("\n", "\r\n") for name, text in CELERY.items()})
    text = read(tmp_path)["shop/tasks.py"]

    assert "@jobs.task" in text
    assert text.count("\r\n") == text.count("\n")


BEAT = "app.conf.beat_schedule = {'a': {'task': 'tasks.add', 'schedule': %s}}"
LISTED = [
    ("print(add.delay(1, 2).get())", "the result is used: add.delay(1, 2).get()", "app.sync.run(add.request(…))"),
    ("job = add.delay(1, 2)\nprint(job.status)", "the result is used: job.status", "app.sync.run(add.request(…))"),
    ("chain(add.s(1, 2), add.s(3))()", "celery.chain", "with_options(then=…)"),
    ("add.apply_async((1, 2), link=add.s(3))", "the option link=add.s(3)", "with_options(then=other)"),
    ("add.apply_async((1, 2), time_limit=5)", "the option time_limit=5", "with_options(handler_timeout=…)"),
    (
        "add.apply_async((1, 2), queue='b')",
        "another queue for one call: 'b', and the task has 'jobs'",
        "declare a second",
    ),
    ("add.apply_async((1, 2), **options)", "options that are computed", "name each option"),
    ("for task in (add,):\n    task.delay(1, 2)", "task.delay: its task is unknown", "task.send(…)"),
    ("app.send_task('tasks.add', (1, 2))", "app.send_task of Celery's app", "import the task"),
    ("app.control.inspect().active()", "app.control.inspect of Celery's app", "tasuki workers"),
    ("add.apply_async((add.delay(1, 2).id, 1))", "a call within another one in line 7", "assign the inner one"),
    ("f'{add.delay(1, 2).id}'", "a call within an f-string", "assign the job"),
    (BEAT % "crontab(minute=randint(0, 59))", "a schedule whose time is computed, or is no crontab", "@jobs.cron('0 3"),
    (
        BEAT % "crontab(day_of_week=1, day_of_month=1)",
        "a schedule whose time is computed, or is no crontab",
        "@jobs.cron",
    ),
    (BEAT % "crontab(minute=99)", "a schedule whose time is computed, or is no crontab", "@jobs.cron"),
    ("app.conf.beat_schedule = times()", "schedules that are computed", "@jobs.cron('…')"),
    ("app.Task = Base", "a base class of all tasks", "docs/how-to/flask.md"),
    ("other = Celery(task_cls=Base)", "a base class of all tasks", "docs/how-to/flask.md"),
    ("signals.task_failure.connect(print)", "celery.signals.task_failure.connect", "hooks"),
    ("patch('tasks.add.delay')", "a test replaces a call of a task by its name", "a test with TestApp"),
    ("from celery.result import AsyncResult\nAsyncResult('1')", "celery.result.AsyncResult", "app.sync.jobs.get"),
    (
        "@shared_task(rate_limit='9/m')\ndef slow(): ...",
        "the option rate_limit='9/m'",
        "give the task a queue of its own",
    ),
    (
        "@shared_task(autoretry_for=(E,), retry_kwargs=dict(max_retries=1))\ndef slow(): ...",
        "retry_kwargs that are computed",
        "write them as a dict",
    ),
    ("@shared_task(base=Base)\ndef slow(): ...", "the option base=Base", "put the code of the base class"),
    ("@shared_task\ndef slow(*args): ...", "the parameter *args", "take a list"),
    ("@shared_task\ndef slow() -> bool:\n    return a", "return False is a failure in Tasuki", 'return {"ok": False}'),
    ("@shared_task\ndef slow():\n    return False\nslow()", "return False is a failure in Tasuki", 'return {"ok"'),
    ("def make():\n    @shared_task\n    def slow(): ...", "a task within a function or a class", "move the function"),
    (
        "@shared_task(bind=True)\ndef slow(self):\n    raise self.retry(exc=error, countdown=5)",
        "self.retry",
        "raise Retry(after=5) from error",
    ),
    (
        "@shared_task(bind=True)\ndef slow(self):\n    go(self)",
        "self is passed on",
        "take a parameter context: Context",
    ),
    (
        "@shared_task(soft_time_limit=5)\ndef slow():\n    try:\n        go()\n    except Exception:\n        pass",
        "the end of handler_timeout is Interrupted, which this except does not catch",
        "with interrupted_as(TimeIsOver)",
    ),
]


@pytest.mark.parametrize(("text", "what", "write_"), LISTED)
def test_a_place_that_is_not_rewritten_is_listed(tmp_path: Path, text: str, what: str, write_: str) -> None:
    found = by_hand(tmp_path, ADD + text)

    assert len([each for each in found if each[1] == what and each[2].startswith(write_)]) == 1, found


@pytest.mark.parametrize(
    "text", ["add.delay(1, 2).get()", "add.apply_async((1, 2), link=add.s(1))", "add.s(1, 2)()", "x = [add]"]
)
def test_a_task_stays_with_all_of_its_calls(tmp_path: Path, text: str) -> None:
    made = moved(
        tmp_path, {"tasks.py": f"from celery import Celery\napp = Celery('a')\n{ADD}add.delay(3, 4)\n{text}\n"}
    )

    assert [task.stays for task in made.tasks] == [True]
    assert made.texts == {}


def test_tasks_that_stay_keep_celery_beside_the_others(tmp_path: Path) -> None:
    other = "@app.task(rate_limit='1/m')\ndef slow():\n    add.delay(1, 2)\n"
    moved(tmp_path, {"tasks.py": f"from celery import Celery\n\napp = Celery('a', broker='redis://h')\n{ADD}{other}"})
    text = read(tmp_path)["tasks.py"]

    assert "app = Celery('a', broker='redis://h')\n@jobs.task\ndef add" in text
    assert "from celery import Celery\n" in text
    assert "@app.task(rate_limit='1/m')\ndef slow():\n    add.send(1, 2)\n" in text


@pytest.mark.parametrize(
    ("options", "rules"),
    [
        ("", ""),
        ("ignore_result=True, acks_late=True", ""),
        ("autoretry_for=(OSError,)", "retry=Retries(4, on=(OSError,), backoff=180, max_delay=180)"),
        ("autoretry_for=[OSError], max_retries=N", "retry=Retries(N + 1, on=(OSError,), backoff=180, max_delay=180)"),
        (
            "autoretry_for=(OSError,), retry_kwargs={'max_retries': 5, 'countdown': 2}",
            "retry=Retries(6, on=(OSError,), backoff=2, max_delay=2)",
        ),
        (
            "autoretry_for=(E,), dont_autoretry_for=(F,), retry_backoff=True, retry_backoff_max=9, max_retries=None",
            "retry=Retries(1_000_000, on=(E,), never=(F,), backoff=1, max_delay=9)",
        ),
        ("name='a.b', time_limit=5", 'name="a.b", handler_timeout=5'),
    ],
)
def test_options_of_a_task(tmp_path: Path, options: str, rules: str) -> None:
    text = f"from celery import Celery\nN = 3\napp = Celery(broker='redis://h')\n@app.task({options})\ndef add(): ...\n"
    moved(tmp_path, {"tasks.py": text})

    assert f"@jobs.task({rules})\n".replace("()", "") in read(tmp_path)["tasks.py"]


@pytest.mark.parametrize(
    ("broker", "address", "problem"),
    [
        ("'redis://h/1'", '"redis://h/1"', None),
        ("'pyamqp://guest@h//'", '"amqp://guest@h//"', None),
        ("os.getenv('A', 'redis://h')", "os.getenv('A', 'redis://h')", None),
        ("settings.url", 'os.environ["QUEUE_URL"]', "the address of the broker is computed"),
        ("'kafka://h'", 'os.environ["QUEUE_URL"]', "a broker that has no driver here: kafka"),
    ],
)
def test_the_address_of_the_broker(tmp_path: Path, broker: str, address: str, problem: str | None) -> None:
    text = (
        f"import os\nfrom shop import settings\nfrom celery import Celery\napp = Celery('a', broker={broker})\n" + ADD
    )
    made = moved(tmp_path, {"tasks.py": text})

    assert f"app = App({address})\n" in read(tmp_path)["tasuki_app.py"]
    assert [place.what for place in made.places if place.state == "check"] == ([problem] if problem else [])


def test_a_queue_whose_name_is_taken_has_another_variable(tmp_path: Path) -> None:
    text = f"from celery import Celery\njobs = []\napp = Celery(broker='redis://h')\n{ADD}"
    moved(tmp_path, {"tasks.py": text})

    assert "from tasuki_app import jobs_queue\n" in read(tmp_path)["tasks.py"]


def test_a_file_that_cannot_be_read_is_listed(tmp_path: Path) -> None:
    made = plan("celery", write(tmp_path, {"a.py": "print 'old'\n", "b.py": "x = 1\n"}))

    assert [(place.file, place.line) for place in made.by_hand] == [("a.py", 1)]


def test_a_file_whose_tasks_have_all_moved_imports_no_app(tmp_path: Path) -> None:
    slow = "from app import app\n@app.task(rate_limit='1/m')\ndef slow(): ...\n"
    app = "from celery import Celery\napp = Celery('a', broker='redis://h')\n"
    moved(tmp_path, {"app.py": app, "tasks.py": f"from app import app\n\n\n{ADD}", "slow.py": slow})
    files = read(tmp_path)

    assert files["tasks.py"].startswith("from tasuki_app import jobs\n\n\n@jobs.task\n")
    assert (files["app.py"], files["slow.py"]) == (app, slow)


def test_apps_that_need_celery_and_a_computed_time_zone_are_to_check(tmp_path: Path) -> None:
    text = "INSTALLED_APPS = ['djcelery_email']\nCELERY_TIMEZONE = zone()\n"
    beat = f"CELERY_BEAT_SCHEDULE = {{'a': {{'task': 'tasks.add', 'schedule': 5}}}}\n{text}"
    tasks = f"from opentelemetry.instrumentation.celery import A\nfrom celery import Celery\napp = Celery()\n{ADD}A()\n"
    made = plan("celery", write(tmp_path, {"settings.py": beat, "tasks.py": tasks}))

    assert sorted(place.what for place in made.places if place.state == "check" and "broker" not in place.what) == [
        "opentelemetry.instrumentation.celery.A, which is for Celery",
        "the installed app djcelery_email",
        "the time zone of schedules is computed",
    ]


def test_arguments_of_a_schedule_begin_after_the_task_itself(tmp_path: Path) -> None:
    task = "@app.task(bind=True)\ndef report(self, kind): ...\n"
    beat = "app.conf.beat_schedule = {'a': {'task': 'tasks.report', 'schedule': 60, 'args': ['daily']}}\n"
    moved(tmp_path, {"tasks.py": f"from celery import Celery\napp = Celery(broker='redis://h')\n{task}{beat}"})

    assert "@jobs.every(60, args={'kind': 'daily'})\n@jobs.task\ndef report(kind): ...\n" in read(tmp_path)["tasks.py"]


def test_functions_may_import_different_tasks_by_one_name(tmp_path: Path) -> None:
    web = (
        "def one():\n    from a import run\n    run.delay(1)\n\n\ndef two():\n    from b import run\n    run.delay(1)\n"
    )
    head = "from celery import shared_task\n@shared_task%s\ndef run(x): ...\n"
    moved(tmp_path, {"a.py": head % "", "b.py": head % "(rate_limit='1/m')", "web.py": web})

    assert read(tmp_path)["web.py"] == web.replace("run.delay", "run.send", 1)


def test_arguments_that_would_be_converted_are_to_check(tmp_path: Path) -> None:
    text = "from datetime import date\n@app.task\ndef report(day: date, count: int, names: list[str] | None): ...\n"
    made = plan(
        "celery", write(tmp_path, {"tasks.py": f"from celery import Celery\napp = Celery(broker='redis://h')\n{text}"})
    )

    assert [place.what for place in made.places if place.state == "check"] == [
        "day: date: arguments are converted to their annotations"
    ]
