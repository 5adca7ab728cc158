"""Options of tasks and of their messages, as mypy and pyright check them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, TypedDict

from tasuki.app.typed.options import ChainOptions, Headers
from tasuki.units import Duration

if TYPE_CHECKING:
    from tasuki.app.tasks.retries import Retries
    from tasuki.app.typed.entries import IdempotencyFields


_ELSEWHERE = {
    "link": "write then",
    "link_error": "write on_error",
    "countdown": "write delay",
    "eta": "write at",
    "expires": "write ttl",
    "task_id": "write id",
    "_job_id": "write id",
    "_defer_by": "write delay",
    "_defer_until": "write at",
    "max_retries": "write retry=Retries(attempts)",
    "retries": "write retry=Retries(attempts)",
    "autoretry_for": "write retry=Retries(on=(…,))",
    "dont_autoretry_for": "write retry=Retries(never=(…,))",
    "retry_backoff": "write retry=Retries(backoff=…)",
    "default_retry_delay": "write retry=Retries(backoff=…)",
    "time_limit": "write timeout",
    "soft_time_limit": "write timeout",
    "acks_late": "remove it: a message is acked after its handler",
    "bind": "annotate a parameter as Context",
    **dict.fromkeys(("concurrency", "prefetch", "handler_timeout", "middleware"), "give it to queue.workers(…)"),
}
"""Options of other libraries, and of consumers → the remedy."""


class TaskOptions(ChainOptions, total=False):
    """Options of one message of a task."""

    headers: Headers


class TaskRules(TypedDict, total=False):
    """Rules of one task."""

    name: str | None
    retry: Retries | None
    timeout: Duration | None
    on_give_up: Callable[..., object] | None
    idempotency: str | IdempotencyFields | None


UNIQUE = ("unique", "unique_for", "on_conflict", "unique_max")
CHAIN = ("then", "on_error")
SENDING = ("headers", "delay", "at", "ttl", "priority", "key", "id", *UNIQUE, *CHAIN, "timeout", "connection")
INJECT = "inject"
RULES = ("name", "retry", "timeout", "on_give_up", "idempotency")


def refuse_unknown(call: str, given: Iterable[str], known: Sequence[str]) -> None:
    """Raise TypeError for an option that does not exist: it would be ignored, or fail only when a message is sent."""
    for name in given:
        if name not in known:
            hint = _ELSEWHERE.get(name, f"there are: {', '.join(known)}")
            raise TypeError(f"{call} has no option {name!r}; {hint}") from None
