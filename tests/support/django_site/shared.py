"""Tasks in Celery's words."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasuki import Context, Retry
from tasuki.contrib.django.celery import Task, shared_task
from tests.support.django_site.models import Tag

seen: list[Any] = []
"""What the tasks note."""


@dataclass
class Paper:
    path: Path
    pages: int = 1


@shared_task
def note(text: str) -> str:
    seen.append(text)
    return text.upper()


@shared_task(name="named")
def refresh() -> None:
    seen.append("refreshed")


@shared_task(bind=True)
def read(self: Task, paper: Paper, raw: bytes | None = None) -> int:
    """Notes its id and its arguments."""
    seen.append((self.request.id, paper, raw))
    return paper.pages


@shared_task
def add(numbers: list[int], more: int = 0) -> int:
    seen.append(sum(numbers) + more)
    return sum(numbers) + more


@shared_task
def double(number: int, *, factor: int = 2) -> int:
    return number * factor


@shared_task
def rest(days: int, context: Context) -> int:
    context.sync.sleep(days * 86400)
    seen.append(days)
    return days


@shared_task
def fail(text: str) -> None:
    seen.append("tried")
    raise ValueError(text)


@shared_task(bind=True, autoretry_for=(OSError,), max_retries=2, default_retry_delay=5)
def fail_twice(self: Task) -> str:
    seen.append(self.request.retries)
    if self.request.retries < 2:
        raise ConnectionError("away")
    return "at last"


@shared_task(bind=True)
def ask_again(self: Task) -> None:
    seen.append(self.request.retries)
    if self.request.retries == 0:
        raise Retry(after=5)


@shared_task
def regret(request: Any, exc: Any, tb: Any, name: str) -> None:
    """An error callback."""
    seen.append((request["message"], exc, tb, name))


@shared_task
def label(tag: Tag, suffix: str) -> None:
    seen.append(tag.name + suffix)


@shared_task
def is_empty() -> bool:
    return False


@shared_task
def keep(what: Any) -> Any:
    seen.append(what)
    return what
