"""The observers of an app as one: an error of an observer is logged, and affects no message."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any

from tasuki.contracts.driver import Answers, Merged, Outgoing, Receipt, Settlement
from tasuki.contracts.observer import Observer

_log = logging.getLogger("tasuki.observer")

Tell = Callable[..., None]


def tell(observers: Iterable[Observer], method: str) -> Tell | None:
    """A function that calls the method of each observer that overrides it; None: no observer does."""
    own = getattr(Observer, method)
    told = [getattr(observer, method) for observer in observers if getattr(type(observer), method) is not own]
    return _contained(told, method) if told else None


def of_stored(told: Tell) -> Callable[[Sequence[Outgoing], Answers], None]:
    """The same for a batch as the driver answers it: a message that another one was kept for was not published."""

    def tell_stored(messages: Sequence[Outgoing], answers: Answers) -> None:
        if any(isinstance(answer, Merged) for answer in answers):
            pairs = [pair for pair in zip(messages, answers, strict=True) if not _is_kept(pair[1])]
            messages = [message for message, _ in pairs]
            answers = [None if isinstance(answer, Merged) else answer for _, answer in pairs]
        if messages:
            told(messages, answers)

    return tell_stored


OnSettled = Callable[[list[Settlement], Collection[Receipt]], None]
"""Gets settlements, and the receipts among them that were stale."""


def told_of_settled(on_settled: OnSettled, observers: Iterable[Observer], consumer: str) -> OnSettled:
    """The same, reported to observers; itself if none of them hears of settlements."""
    told = tell(observers, "on_settled")
    if told is None:
        return on_settled

    def observed(batch: list[Settlement], stale: Collection[Receipt]) -> None:
        on_settled(batch, stale)
        told(consumer, batch, stale)

    return observed


def _is_kept(answer: object) -> bool:
    return isinstance(answer, Merged) and answer.how == "kept"


def _contained(told: list[Tell], method: str) -> Tell:
    failed: set[Tell] = set()

    def tell_all(*args: Any) -> None:
        for each in told:
            try:
                each(*args)
            except Exception:
                if each not in failed:
                    failed.add(each)
                    _log.exception("observer %s fails in %s; later failures there are not logged",
                                   type(each.__self__).__name__, method)  # type: ignore[attr-defined]  # fmt: skip

    return tell_all
