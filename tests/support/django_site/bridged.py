"""Tasks in Celery's words with the options of larger projects: base classes, queues, limits, retries."""

from __future__ import annotations

import time
from typing import Any

from tasuki.contrib.django.celery import Celery, SoftTimeLimitExceeded, Task, crontab
from tests.support.django_site.shared import seen

app = Celery("site")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


class Told(Task):
    """Notes what happens to its tasks."""

    max_retries = 1

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        seen.append(("call", self.request.id))
        return super().__call__(*args, **kwargs)

    def before_start(self, task_id: str, args: Any, kwargs: Any) -> None:
        seen.append(("before_start", kwargs))

    def on_success(self, retval: Any, task_id: str, args: Any, kwargs: Any) -> None:
        seen.append(("on_success", retval, kwargs))
        raise ValueError("an error of a hook is logged")

    def on_retry(self, exc: BaseException, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
        seen.append(("on_retry", str(exc), kwargs))

    def on_failure(self, exc: BaseException, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
        seen.append(("on_failure", type(exc).__name__, kwargs, "Traceback" in str(einfo)))

    def after_return(self, status: str, retval: Any, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
        seen.append(("after_return", status))


@app.task(bind=True, base=Told)
def told(self: Task, text: str) -> str:
    seen.append(("run", self.request.id, text))
    if text == "again":
        raise self.retry(exc=OSError("away"), countdown=5)
    if text == "no":
        raise ValueError("no")
    return text


def note_failure(self: Task, exc: BaseException, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
    seen.append((self.name.rpartition(".")[2], type(exc).__name__, kwargs))


@app.task(queue="post", expires=60, priority=None, compression="zlib", on_failure=note_failure)
def mail(to: str) -> None:
    seen.append(to)
    raise ConnectionError("no server")


@app.task(
    autoretry_for=(OSError,), dont_autoretry_for=(FileNotFoundError,), retry_kwargs={"max_retries": 1, "countdown": 2}
)
def fetch(kind: str) -> None:
    seen.append(kind)
    raise FileNotFoundError(kind) if kind == "gone" else OSError(kind)


@app.task(soft_time_limit=0.05, on_failure=note_failure)
def slow(catches: bool) -> str:
    try:
        while True:
            time.sleep(0.001)
    except SoftTimeLimitExceeded:
        seen.append("cleaned up")
        if not catches:
            raise
    return "late"


@app.task(bind=True)
def ask(self: Task, most: int) -> None:
    seen.append(self.request.retries)
    self.retry(countdown=1, max_retries=most)


@app.on_after_finalize.connect
def periodic(sender: Celery, **kwargs: Any) -> None:
    sender.add_periodic_task(
        crontab(0, 0, day_of_month="29", month_of_year="2"), mail.s("ada"), name="leap day", expires=60
    )
