"""Tasks of both kinds: Tasuki's own, and Django's."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any

from django.db import connection

from tasuki import Reject, Snooze
from tasuki.contracts.handler import Interrupted
from tasuki.contrib.django import queue
from tasuki.contrib.django.tasks.results import PACKAGE
from tests.support.django_site import bridged, shared

if PACKAGE == "django.tasks":
    from django.tasks import task
else:
    from django_tasks import task

mails = queue("mails", dead_letter="mails.dead")
seen = shared.seen
__all__ = ["bridged"]


@mails.task
def send(to: str) -> None:
    """Notes who gets a mail, the thread, and whether the database answers."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
        seen.append((to, threading.get_ident(), cursor.fetchone()))


@mails.task
async def send_async(to: str) -> None:
    seen.append(to)


@task
def add(a: int, b: int) -> int:
    return a + b


@task
async def add_async(a: int, b: int) -> int:
    return a + b


@task(takes_context=True)
def attempts(context: Any) -> int:
    return int(context.attempt)


@task
def fail(kind: str) -> None:
    errors = {"value": ValueError("no"), "exit": SystemExit("out"), "reject": Reject("never"), "snooze": Snooze(60)}
    raise FrozenError("cold") if kind == "frozen" else errors[kind]


@dataclass(frozen=True)
class FrozenError(Exception):
    text: str


@task
def interrupted() -> None:
    raise Interrupted


@task(takes_context=True)
def fail_once_more(context: Any) -> str:
    if context.attempt == 1:
        raise ValueError("no")
    return f"finished_at was {context.task_result.finished_at}"


@task
def not_json() -> object:
    return object()


@task(backend="tried", queue_name="tried")
def fail_twice() -> str:
    seen.append("try")
    if len(seen) < 3:
        raise ValueError(f"attempt {len(seen)}")
    return "at last"


@task(backend="ranked", queue_name="ranked")
def note(text: str) -> None:
    seen.append(text)


def no_task() -> None:
    seen.append("no task")
