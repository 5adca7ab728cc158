"""What a dry run has found out; no I/O."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Ending = Literal["ack", "retry", "dead_letter", "snooze", "release", "timeout", "died", "problem"]

WARNING = "Calls that your code makes itself (HTTP, SQL outside Tasuki) really happen."
EFFECTS = (
    "publish", "request", "store", "signal", "cancel", "pause", "resume", "scale", "transaction", "sql", "remove",
    "purge", "expedite", "delete", "step", "sleep", "metric",
)  # fmt: skip
"""Acts that are recorded in the place of being done, in the words of their events."""


@dataclass(frozen=True, slots=True)
class DryRun:
    """How the handler ended, and what it would have done."""

    message: str
    """The id of the message."""
    queue: str
    """The id of the queue whose consumer got it."""
    outcome: Ending
    """``ack``: it is done; ``retry``: it failed, and would be retried; ``dead_letter``, ``snooze``, ``release``;
    ``timeout``: it took longer than the limit; ``died``: its process ended; ``problem``: it could not be called."""
    seconds: float | None = None
    """How long the handler took; None: it did not end."""
    consumer: str = ""
    function: str = ""
    error: str = ""
    reason: str = ""
    """Of a dead letter."""
    type: str = ""
    place: str = ""
    traceback: str = ""
    delay: float = 0.0
    """Seconds until it would be retried."""
    effects: list[dict[str, Any]] = field(default_factory=list)
    """The recorded acts, in order; ``do`` says what, see ``EFFECTS``."""
    logs: list[dict[str, Any]] = field(default_factory=list)
    """``level``, ``logger`` and ``text`` of each."""
    output: str = ""
    """What the code wrote to stdout."""
    errors: str = ""
    """What it wrote to stderr."""
    warnings: list[str] = field(default_factory=list)

    @property
    def is_good(self) -> bool:
        """Whether the message would be done; a handler with ``auto_ack`` may fail after that."""
        return self.outcome == "ack" and not self.error


def report_of(
    message: str,
    queue: str,
    events: Iterable[Mapping[str, Any]],
    *,
    output: str,
    errors: str,
    limit: float,
    death: str = "",
) -> DryRun:
    """The report of the events of a run; ``death``: how its process ended before it had told how the message ends.

    ``death`` is ``timeout`` for one that was ended at the limit, in seconds.
    """
    facts: dict[str, Any] = {"outcome": "died", "error": death}
    ended: Mapping[str, Any] = {}
    kept: dict[str, list[dict[str, Any]]] = {"log": [], "warning": [], "effect": []}
    for event in events:
        do = event.get("do")
        rest = {name: value for name, value in event.items() if name != "do"}
        if do in EFFECTS:
            kept["effect"].append(dict(event))
        elif do in kept:
            kept[str(do)].append(rest)
        elif do == "end":
            ended = rest
        else:
            facts |= _facts_of(do, rest)
    if facts["outcome"] == "died" and death == "timeout":
        facts |= {"outcome": "timeout", "error": f"the handler was ended after {limit:g} s"}
    named = {name: value for name, value in facts.items() if name in DryRun.__dataclass_fields__}
    named["error"] = facts["error"] or ended.get("error", "")
    named["traceback"] = facts.get("traceback") or ended.get("traceback", "")
    return DryRun(
        message, queue, seconds=ended.get("seconds"), effects=kept["effect"], logs=kept["log"], output=output,
        errors=errors, warnings=[str(each["text"]) for each in kept["warning"]], **named,
    )  # fmt: skip


def _facts_of(do: object, rest: dict[str, Any]) -> dict[str, Any]:
    """The part of an event that concerns the run as a whole."""
    if do == "outcome":
        return {"error": "", **rest, "delay": rest.get("delay") or 0.0}
    if do == "start":
        return {"consumer": rest["consumer"], "function": rest["function"]}
    if do == "problem":
        return {"outcome": "problem", "error": rest["text"]}
    return {"traceback": rest["text"]} if do == "stack" else {}
