"""When a waiting message is due, where its error was raised, and what holds a queue back."""

from __future__ import annotations

from typing import Any

import pytest

from tasuki.contracts.driver import Depth
from tasuki.contracts.values import Waiting
from tasuki.desk.reading.message_rows import Due, due_of, held_back, place_of
from tasuki.desk.reading.snapshot import ConsumerRow, QueueRow
from tasuki.message import DUE, LAST_ERROR, LAST_ERROR_TIME, LAST_TRACEBACK, Message
from tasuki.queues.dead.attempts import AttemptRecord
from tasuki.queues.policy import QueuePolicy
from tasuki.state.pauses import Pause, Scale

POLICY = QueuePolicy()
TRACE = 'Traceback (most recent call last):\n  File "shop/mail.py", line 41, in send\n    raise ValueError\n'


def message(**headers: Any) -> Message:
    return Message("1", b"", headers)


def test_when_it_is_due() -> None:
    assert due_of(message(**{DUE: 50.0}), POLICY) == Due("delay", 50.0)
    assert due_of(message(), POLICY) == Due("postponed")
    failed = message(**{LAST_ERROR: "no", LAST_ERROR_TIME: 100.0})
    assert due_of(failed, POLICY) == Due("retry")
    assert due_of(failed, POLICY, 3) == Due("retry", 104.0, is_about=True)
    assert due_of(failed, POLICY, 10**6) == Due("retry", 190.0, is_about=True)
    assert due_of(message(**{LAST_ERROR: "no", LAST_ERROR_TIME: True}), POLICY, 1) == Due("retry")


def test_the_broker_knows_best_when_it_is_due() -> None:
    def waiting(**headers: Any) -> Waiting:
        return Waiting("1", b"", headers, delay=30.0)

    failed = {LAST_ERROR: "no", LAST_ERROR_TIME: 100.0}
    assert due_of(waiting(**failed), POLICY, 3, now=100.0) == Due("retry", 130.0)
    assert due_of(waiting(**failed), POLICY, 3) == Due("retry", 104.0, is_about=True)
    assert due_of(waiting(**{DUE: 50.0}), POLICY, now=100.0) == Due("delay", 130.0)
    assert due_of(waiting(), POLICY, now=100.0) == Due("postponed", 130.0)
    assert due_of(message(**failed), POLICY, 3, now=100.0) == Due("retry", 104.0, is_about=True)


def test_where_its_error_was_raised() -> None:
    record = AttemptRecord(attempt=2, at=1.0, place="shop/mail.py:send", traceback=TRACE)
    assert place_of(message(), record) == "shop/mail.py:41 in send"
    assert place_of(message(), AttemptRecord(attempt=1, at=1.0, place="app:sender")) == "app:sender"
    assert place_of(message(), AttemptRecord(attempt=1, at=1.0)) == ""
    old = message(**{LAST_ERROR: "ValueError", LAST_TRACEBACK: TRACE})
    assert place_of(old) == "shop/mail.py:41 in send"


def row(**fields: Any) -> QueueRow:
    depth = Depth(ready=3, in_flight=0, delayed=0)
    return QueueRow("app:mails", "d", depth, **{"consumers": [consumer()], **fields})


def consumer(**fields: Any) -> ConsumerRow:
    known: dict[str, Any] = {"processes": 1, "concurrency": 2, "running": 0, "done": 0, "failed": 0, **fields}
    return ConsumerRow("app:sender", **known)


PAUSE = Pause(1.0, None, "kana")


@pytest.mark.parametrize(
    ("fields", "keys"),
    [
        ({}, []),
        ({"depth": None}, []),
        ({"paused": PAUSE}, ["yet.paused"]),
        ({"consumers": []}, ["yet.no_consumer"]),
        ({"consumers": [consumer(processes=0, concurrency=0)]}, ["yet.no_worker"]),
        ({"consumers": [consumer(paused=PAUSE)]}, ["yet.consumers"]),
        ({"consumers": [consumer(scale=Scale(0, 1.0, "kana"))]}, ["yet.consumers"]),
        ({"consumers": [consumer(running=2)], "tags": ["limit 10/s", "ordered"]}, ["yet.busy", "yet.limit"]),
    ],
)
def test_what_holds_a_queue_back(fields: dict[str, object], keys: list[str]) -> None:
    found = held_back(QueueRow("app:mails", "d", None) if "depth" in fields else row(**fields))
    assert [key for key, _ in found] == keys
