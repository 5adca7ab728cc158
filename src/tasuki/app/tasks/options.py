"""Options of tasks and of their messages, as mypy and pyright check them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, TypedDict

from tasuki.app.typed.options import ChainOptions, Headers
from tasuki.units import Duration

if TYPE_CHECKING:
    from tasuki.app.typed.entries import IdempotencyFields
    from tasuki.contracts.context import Retries


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
    "max_retries": "write {retry}",
    "retries": "write retry=Retries(attempts)",
    "retry": "write retries=5, or retries=Retries(5, …)",
    "autoretry_for": "write retry=Retries(on=(…,))",
    "dont_autoretry_for": "write retry=Retries(never=(…,))",
    "retry_backoff": "write retry=Retries(backoff=…)",
    "default_retry_delay": "write retry=Retries(backoff=…)",
    "timeout": "write {timeout}",
    "time_limit": "write handler_timeout",
    "soft_time_limit": "write handler_timeout",
    "job_timeout": "write handler_timeout",
    "acks_late": "remove it: a message is acked after its handler",
    "bind": "annotate a parameter as Context",
    **dict.fromkeys(("concurrency", "prefetch", "middleware"), "give it to queue.task_consumer(…)"),
}
"""Options of other libraries, and of consumers → the remedy."""


_TIMEOUTS = {
    "handler_timeout": "the longest run",
    "publish_timeout": "until it is confirmed",
    "reply_timeout": "until its reply has come",
}


class TaskOptions(ChainOptions, total=False):
    """Options of one message of a task."""

    headers: Headers
    reply_timeout: Duration


class TaskRules(TypedDict, total=False):
    """Rules of one task."""

    name: str | None
    retry: Retries | None
    handler_timeout: Duration | None
    on_give_up: Callable[..., object] | None
    idempotency: str | IdempotencyFields | None


UNIQUE = ("unique", "unique_for", "on_conflict", "unique_max")
CHAIN = ("then", "on_error")
ONE = ("headers", "delay", "at", "ttl", "priority", "key", "id", "handler_timeout", "retries")
MESSAGE = (*ONE, *UNIQUE, *CHAIN)
SENDING = (*MESSAGE, "publish_timeout", "connection")
REQUEST = (*ONE, "reply_timeout", "reply_to")
OF_SENDER = (*SENDING, "reply_timeout")
INJECT = "inject"
RULES = ("name", "retry", "handler_timeout", "on_give_up", "idempotency")


def refuse_unknown(call: str, given: Iterable[str], known: Sequence[str]) -> None:
    """Raise TypeError for an option that does not exist: it would be ignored, or fail only when a message is sent."""
    for name in given:
        if name not in known:
            hint = _ELSEWHERE.get(name, f"there are: {', '.join(known)}").format(
                timeout=" or ".join(f"{each} ({what})" for each, what in _TIMEOUTS.items() if each in known),
                retry="retry=Retries(attempts)" if "retry" in known else "retries=5",
            )
            raise TypeError(f"{call} has no option {name!r}; {hint}") from None
