"""Options of shared tasks: which exist, what they mean here, the line to write for others; and their queues."""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from tasuki.contracts.context import Retries
from tasuki.contrib.django.celery.request import SoftTimeLimitExceeded
from tasuki.contrib.django.celery.running import HOOKS
from tasuki.contrib.django.celery.settings import queue_of, setting, worker_fields
from tasuki.contrib.django.celery.signals import worker_process_init
from tasuki.contrib.django.config import settings_place
from tasuki.contrib.django.project import project_app
from tasuki.errors import HandlerTimeoutError
from tasuki.registry.entry import did_you_mean
from tasuki.system.caller import declared_at

if TYPE_CHECKING:
    from tasuki import App, QueueHandle
    from tasuki.app.typed.entries import CompressFields, DeadLetterFields


_MAX_RETRIES, _DELAY, _LONGEST = 3, 180.0, 600.0
"""Celery's defaults; times in seconds."""

MAX_ATTEMPTS = 10
"""Deaths of workers that one message may see; errors of tasks end them at once."""

_UNBOUNDED = 1_000_000
"""Attempts of a task with ``max_retries=None``."""


_RETRYING = (
    "autoretry_for",
    "dont_autoretry_for",
    "max_retries",
    "retry_kwargs",
    "retry_backoff",
    "retry_backoff_max",
    "default_retry_delay",
)

_SENDING = ("queue", "expires", "priority")

_LIMITS = ("time_limit", "soft_time_limit")

_OF_CLASS = (*_RETRYING, *_SENDING, *_LIMITS)
"""Options that a base class may have as attributes."""

_WITHOUT_EFFECT = (
    "ignore_result",
    "throws",
    "retry_jitter",
    "acks_late",
    "acks_on_failure_or_timeout",
    "reject_on_worker_lost",
    "track_started",
    "trail",
    "send_events",
    "store_errors_even_if_ignored",
    "store_eager_result",
    "serializer",
    "compression",
    "typing",
)
"""Options that say what Tasuki does anyway, or that have nothing to change here."""

OPTIONS = ("name", "bind", "base", *_OF_CLASS, *HOOKS, *_WITHOUT_EFFECT)


_ELSEWHERE = {
    "rate_limit": "give the task its own queue: queue('mails', limit='10/m').task (docs/how-to/limits.md)",
    "backend": "results are in a queue of Tasuki: queue('jobs', result='1h').task (docs/how-to/results.md)",
    "result_extended": "results are in a queue of Tasuki: queue('jobs', result='1h').task (docs/how-to/results.md)",
    "exchange": "write queue='…'",
    "routing_key": "write queue='…'",
    "after_retry": "write on_retry",
    "on_bound": "write the code below the class",
    "pydantic": "annotate the parameters: arguments are converted to their annotations",
}

_OF_CALL = {
    "link": "write chain(task.s(…), other.s())",
    "link_error": "write chord([task.s(…)], other.s()).on_error(warn.si(…)), or on_failure of the task",
    "time_limit": "give it to the task: shared_task(time_limit=…)",
    "soft_time_limit": "give it to the task: shared_task(soft_time_limit=…)",
    "exchange": "give the task its queue: shared_task(queue='…')",
    "routing_key": "give the task its queue: shared_task(queue='…')",
}

_OF_SENDER = {"countdown": "delay", "eta": "at", "task_id": "id", "priority": "priority", "headers": "headers"}
"""Options of a call that its message has, and Tasuki's names for them."""

_OF_CALL_WITHOUT_EFFECT = (
    "retry",
    "retry_policy",
    "compression",
    "serializer",
    "ignore_result",
    "shadow",
    "producer",
    "connection",
    "add_to_parent",
    "argsrepr",
    "kwargsrepr",
)


def refuse_unknown_options(options: Mapping[str, Any]) -> None:
    """Raise TypeError for an option that does not exist; it says what to write."""
    for name in options:
        if name not in OPTIONS:
            hint = _ELSEWHERE.get(name) or did_you_mean(name, OPTIONS) or f"there are: {', '.join(OPTIONS)}"
            raise TypeError(f"shared_task(…) has no option {name!r}; {hint}")


def options_of_call(name: str, queue: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a call of a task (``apply_async``, ``set``) as its message has them; ``expires``: seconds.

    Raises:
        TypeError: an option has no counterpart; it says what to write.
    """
    _refuse("apply_async(…)", name, queue, options, (*_OF_SENDER, "expires"))
    found = {_OF_SENDER[each]: options[each] for each in _OF_SENDER if options.get(each) is not None}
    expires = seconds_left(options.get("expires"))
    return found if expires is None else {**found, "expires": expires}


def refuse_options_of_schedule(name: str, queue: str, options: Mapping[str, Any]) -> None:
    """Raise TypeError for an option of a schedule that has no counterpart; ``expires`` and ``headers`` are taken."""
    _refuse("a schedule", name, queue, options, ())


def _refuse(what: str, name: str, queue: str, options: Mapping[str, Any], known: tuple[str, ...]) -> None:
    for option, value in options.items():
        if option == "queue":
            if value not in (None, queue):
                raise TypeError(
                    f"{what} has queue={value!r}, and task {name} has the queue {queue!r}; give the task its queue: "
                    f"shared_task(queue={value!r}), or CELERY_TASK_ROUTES = {{{name!r}: {{'queue': {value!r}}}}}"
                )
        elif option not in (*known, *_OF_CALL_WITHOUT_EFFECT):
            hint = _OF_CALL.get(option) or did_you_mean(option, (*known, "expires", "headers", "queue")) or "remove it"
            raise TypeError(f"{what} of task {name} has no option {option!r}; {hint}")


@dataclass(frozen=True, slots=True)
class Rules:
    """What the options of a task mean. Times are seconds."""

    name: str
    queue: str
    retries: Retries
    autoretry_for: tuple[type[BaseException], ...] = ()
    dont_autoretry_for: tuple[type[BaseException], ...] = ()
    max_retries: int | None = _MAX_RETRIES
    delay: float = _DELAY
    """Of ``self.retry()`` without a time."""
    limit: float | None = None
    has_soft_limit: bool = False
    """At its ``limit`` Celery's exception is raised in the function."""
    defaults: dict[str, Any] = field(default_factory=dict)
    """Options of each of its messages."""


def rules_of(name: str, given: Mapping[str, Any], base: type) -> Rules:
    """The rules of a task.

    Args:
        name: of the task, unless the options have another one.
        given: the options.
        base: its class, whose attributes are options too.
    """
    of_class = {each: getattr(base, each) for each in _OF_CLASS if hasattr(base, each)}
    options = {**of_class, **given}
    name = str(options.get("name") or name)
    found = {"expires": seconds(options.get("expires")), "priority": options.get("priority")}
    limits = [
        options.get(each) or setting(f"TASK_{each.upper()}") for each in ("soft_time_limit", "time_limit")
    ]  # fmt: skip
    soft, hard = limits
    limit = min((float(each) for each in limits if each), default=None)
    retrying = {**options, **_renamed(options.get("retry_kwargs") or {})}
    return Rules(
        name,
        str(options.get("queue") or queue_of(name)),
        retries_of(retrying),
        errors_of(options, "autoretry_for"),
        errors_of(options, "dont_autoretry_for"),
        retrying.get("max_retries", _MAX_RETRIES),
        seconds(retrying.get("default_retry_delay", _DELAY)) or 0.0,
        limit if (options.get("time_limit") or options.get("soft_time_limit")) else None,
        bool(soft) and (not hard or float(soft) <= float(hard)),
        {each: value for each, value in found.items() if value is not None},
    )


def retries_of(options: Mapping[str, Any]) -> Retries:
    """The retry rules that the options of a task mean."""
    errors, most = errors_of(options, "autoretry_for"), options.get("max_retries", _MAX_RETRIES)
    attempts = _UNBOUNDED if most is None else most + 1
    if not errors:  # ``self.retry()`` alone; deaths of workers have the bound of the queue
        return Retries(attempts if attempts > MAX_ATTEMPTS else None, never=(Exception,))
    if any(issubclass(SoftTimeLimitExceeded, error) for error in errors):
        errors = (*errors, HandlerTimeoutError)
    never, backoff = errors_of(options, "dont_autoretry_for"), options.get("retry_backoff", False)
    if not backoff:
        delay = seconds(options.get("default_retry_delay", _DELAY)) or 0.0
        return Retries(attempts, on=errors, never=never, backoff=delay, max_delay=delay)
    longest = options.get("retry_backoff_max", _LONGEST)
    return Retries(attempts, on=errors, never=never, backoff=float(max(backoff, 1.0)), max_delay=longest)


def errors_of(options: Mapping[str, Any], name: str) -> tuple[type[BaseException], ...]:
    """The errors that an option lists. Raises TypeError: it is one class, and no tuple."""
    found = options.get(name, ())
    if isinstance(found, type):
        raise TypeError(f"{name}={found.__qualname__} must be a tuple of errors: write {name}=({found.__qualname__},)")
    return tuple(found)


def _renamed(retry_kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """``retry_kwargs`` by the names of the options. Raises TypeError: an item that has no counterpart."""
    names = {"max_retries": "max_retries", "countdown": "default_retry_delay"}
    for each in retry_kwargs:
        if each not in names:
            raise TypeError(f"retry_kwargs has no {each!r} here; there are: {', '.join(names)}")
    return {names[each]: value for each, value in retry_kwargs.items()}


def seconds_left(expires: float | timedelta | datetime | None) -> float | None:
    """Seconds until a call expires. Raises TypeError: a time without a zone."""
    if not isinstance(expires, datetime):
        return seconds(expires)
    if expires.tzinfo is None:
        raise TypeError(
            f"expires must be a datetime with a time zone, not {expires!r}; write django.utils.timezone.now() + "
            "timedelta(hours=1), or the seconds"
        )
    return expires.timestamp() - time.time()


def seconds(value: float | timedelta | None) -> float | None:
    """A length of time in seconds. Raises TypeError: it is none."""
    if isinstance(value, datetime):
        raise TypeError(f"{value!r} is a time, and a task or a schedule has a length: seconds, or a timedelta")
    if isinstance(value, timedelta):
        return value.total_seconds()
    return None if value is None else float(value)


COMPRESS: CompressFields = {"method": "gzip", "above": "16KiB"}
"""Of every queue, so that all processes read the same, whichever tasks they know."""


_lock = threading.Lock()

_declared: weakref.WeakKeyDictionary[App, dict[str, QueueHandle[Any]]] = weakref.WeakKeyDictionary()


def shared_queue(name: str) -> QueueHandle[Any]:
    """The queue of this name; declared with its workers at the first call.

    Raises:
        ImproperlyConfigured: the setting TASUKI is wrong.
    """
    return queue_in(project_app(), name)


def queue_in(app: App, name: str) -> QueueHandle[Any]:
    """The same of an App."""
    with _lock:
        known = _declared.setdefault(app, {})
        if name not in known:
            with declared_at(settings_place()):
                known[name] = _declare(app, name)
                if len(known) == 1:
                    app.on.start(_process_init)
        return known[name]


def _declare(app: App, name: str) -> QueueHandle[Any]:
    dead_letter: DeadLetterFields = {"queue": f"{name}.dead", "max_attempts": MAX_ATTEMPTS}
    # msgpack: arguments may be bytes
    queue: QueueHandle[Any] = app.queue(name, codec="msgpack", compress=COMPRESS, dead_letter=dead_letter)
    if fields := worker_fields():
        queue.task_consumer(**fields)
    return queue


def _process_init() -> None:
    worker_process_init.tell(None)
