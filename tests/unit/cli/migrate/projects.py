"""Small applications of Celery and RQ, as people write them: path → text."""

from __future__ import annotations

from pathlib import Path

CELERY = {
    "shop/__init__.py": "",
    "shop/celery_app.py": """\
import os

from celery import Celery
from celery.schedules import crontab

REDIS = os.environ.get("REDIS_URL", "redis://localhost:6379/0")

app = Celery("shop", broker=REDIS, include=["shop.tasks"])
app.conf.timezone = "Asia/Tokyo"
app.conf.task_routes = {"shop.tasks.send_mail": {"queue": "mails"}}
app.conf.beat_schedule = {
    "clean": {"task": "shop.tasks.clean", "schedule": crontab(minute="*/30"), "kwargs": {"days": 7}},
    "ping": {"task": "shop.tasks.ping", "schedule": 30.0},
}
""",
    "shop/tasks.py": """\
from celery import shared_task
from celery.utils.log import get_task_logger

from shop.celery_app import app

logger = get_task_logger(__name__)
SEEN = []


@app.task(autoretry_for=(ConnectionError,), retry_backoff=2, retry_kwargs={"max_retries": 3}, acks_late=True)
def fetch(url, as_json=False):
    SEEN.append(("fetch", url, as_json))
    if url == "down":
        raise ConnectionError(url)
    if not url:
        return False
    return len(url)


@shared_task(bind=True)
def send_mail(self, to: str, subject: str = "Héllo – 襷"):
    SEEN.append(("mail", to, subject, self.request.retries))
    if to == "nobody":
        raise ValueError(to)


@shared_task(name="cleaning", soft_time_limit=60)
def clean(days: int) -> None:
    SEEN.append(("clean", days))


@app.task
def ping():
    SEEN.append(("ping",))
""",
    "shop/orders.py": '''\
"""Züge: text that is not ASCII before a call."""
from . import tasks as work
from .tasks import fetch, send_mail


def order(to, url):
    "ü"; fetch.delay(url, as_json=True)
    send_mail.apply_async(
        (to,),
        {"subject": f"Order of {to}"},  # a subject
        countdown=60,
        expires=3600,
    )
    job = work.fetch.delay(url)
    return job.task_id


async def order_soon(url):
    fetch.delay(url)
    return fetch.delay(url).id
''',
    "Procfile": "web: gunicorn shop.web\nworker: celery -A shop.celery_app worker -l info -c 4 -Q celery,mails\n"
    "clock: celery -A shop.celery_app beat\n",
}

RQ = {
    "app/__init__.py": "",
    "app/queues.py": """\
from redis import Redis
from rq import Queue

connection = Redis(host="localhost", db=2)
low = Queue("low", connection=connection)
""",
    "app/jobs.py": """\
SEEN = []


def resize(path: str, width: int = 100):
    SEEN.append((path, width))
    return path


def report(day):
    SEEN.append(day)
    raise ValueError(day)
""",
    "app/web.py": """\
from datetime import timedelta

from rq import Queue, Retry

from app.jobs import report, resize
from app.queues import connection, low


def upload(path):
    queue = Queue(connection=connection)
    job = queue.enqueue(resize, path, width=200, job_timeout="5m", description="resize it")
    queue.enqueue_in(timedelta(seconds=5), resize, path)
    low.enqueue(report, "monday", retry=Retry(max=2, interval=10))
    return job.get_id()
""",
    "Procfile": "worker: rq worker --with-scheduler default low\n",
}


def write(folder: Path, files: dict[str, str]) -> Path:
    """Make the files; the folder."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode())
    return folder


def read(folder: Path) -> dict[str, str]:
    """All files of a folder."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes().decode()
        for path in folder.rglob("*.*")
        if path.suffix != ".pyc"
    }
