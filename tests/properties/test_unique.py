"""Unique messages against a model, among everything else that can happen to a queue.

The model keeps, for each key, the last message that was stored for it, and asks that message where it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import rule

from tasuki.contracts.driver import Merged, Outgoing, Unique
from tasuki.errors import QueueFullError
from tests.properties.test_drivers import DriverMachine, Item, SQLiteMachine

WINDOW, DELAY, LATEST = 7.0, 4.0, 11.0


@dataclass
class Pin:
    item: Item
    id: str
    since: float
    until: float = 0.0


class UniqueMachine(DriverMachine):
    def __init__(self) -> None:
        super().__init__()
        self.pins: dict[str, Pin] = {}

    @rule(
        key=st.sampled_from(["x", "y"]),
        span=st.sampled_from(["pending", "pending", "running", WINDOW]),
        act=st.sampled_from(["keep", "replace", "extend"]),
        delay=st.sampled_from([0.0, DELAY]),
        line=st.sampled_from([None, "a"]),
    )
    def publish_unique(self, key: str, span: Any, act: Any, delay: float, line: str | None) -> None:
        self.settle_clock()
        self.count += 1
        id = f"{self.count}"
        latest = LATEST if act == "extend" else 0.0
        message = Outgoing(id, b"u%d" % self.count, {"u": self.count}, delay, 0, line)
        message.unique = Unique(key, span, act, latest)
        pin = self.pins.get(key)
        expected: Merged | None = None
        if pin is not None and self._has_key(pin, span):
            expected = self._merged(pin, message, act)
        most = self.model.spec.max_length
        if expected is None and most is not None and len(self.model.items) >= most:
            try:
                answers = self.run(self.driver.publish("q", [message]))
            except QueueFullError:
                return
            raise AssertionError(f"a full queue answered {answers}")
        answers = self.run(self.driver.publish("q", [message]))
        assert [*answers] == ([expected] if expected else [])
        if expected is None:
            item = Item(self.count, message, self.now + delay if delay else 0.0)
            self.model.items.append(item)
            until = self.now + span if isinstance(span, float) else 0.0
            self.pins[key] = Pin(item, id, self.now, until)
        self.settle_clock()

    def _has_key(self, pin: Pin, span: Any) -> bool:
        is_there = any(item is pin.item for item in self.model.items)
        if span == "pending":
            return is_there and not pin.item.is_held
        return is_there if span == "running" else pin.until > self.now

    def _merged(self, pin: Pin, message: Outgoing, act: str) -> Merged:
        item, old = pin.item, pin.id
        is_waiting = any(each is item for each in self.model.items) and not item.is_held
        if act == "keep" or not is_waiting:
            return Merged("kept", old)
        item.outgoing = msgspec.structs.replace(
            message, priority=item.outgoing.priority, key=item.outgoing.key, unique=None
        )
        item.failures, item.is_suspect, item.receipt, pin.id = 0, False, None, message.id
        if act == "replace":
            return Merged("replaced", old)
        due = min(self.now + message.delay, pin.since + LATEST)
        item.due = due if due > self.now else 0.0
        return Merged("extended", old)


class SQLiteUniqueMachine(UniqueMachine, SQLiteMachine):
    """The same in a file."""


slow = [HealthCheck.too_slow]
TestMemoryModel = UniqueMachine.TestCase
TestMemoryModel.settings = settings(max_examples=100, stateful_step_count=40, deadline=None, suppress_health_check=slow)
TestSQLiteModel = SQLiteUniqueMachine.TestCase
TestSQLiteModel.settings = settings(max_examples=40, stateful_step_count=40, deadline=None, suppress_health_check=slow)
