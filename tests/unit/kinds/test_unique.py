"""Unique messages on drivers that keep only a part of it: what a store adds, and what cannot be together."""

from __future__ import annotations

import pytest

from tests.unit.kinds.conftest import Make, Problems

RABBIT = "  - {name: d, kind: queue.driver.amqp}\n"
NATS = "  - {name: d, kind: queue.driver.nats}\n"
STORE = "  - {name: m, kind: queue.driver.sqlite}\n  - {name: s, kind: store.sqlite, driver: m}\n"
QUEUE = "  - {name: q, kind: queue.queue, driver: d, "


def test_a_window_needs_a_store_where_the_driver_keeps_none(problems: Problems, project: Make) -> None:
    fields = "unique: {key: header.x, for: 10m}"
    [text] = problems(f"{RABBIT}{QUEUE}{fields}}}\n")
    assert "unique: for: window needs a driver that can keep one message per key for a time" in text
    assert text.endswith("or write 'state: <id of a store>' at the queue or its driver")
    project(f"{RABBIT}{STORE}{QUEUE}state: s, {fields}, requires: [unique.window]}}\n")
    project(f"{NATS}{QUEUE}{fields}, requires: [unique.window]}}\n")


@pytest.mark.parametrize("span", ["pending", "running"])
def test_a_store_keeps_nothing_else(problems: Problems, span: str) -> None:
    texts = problems(f"{RABBIT}{STORE}{QUEUE}state: s, unique: {{key: header.x, for: {span}}}}}\n")
    assert any(f"unique: for: {span} needs a driver" in text and "write 'state" not in text for text in texts)


def test_a_window_by_a_store_only_keeps(problems: Problems) -> None:
    fields = "unique: {key: header.x, for: 10m, on_conflict: replace}"
    [text] = problems(f"{NATS}{QUEUE}{fields}}}\n")
    assert "unique: on_conflict: replace needs a driver that can replace the waiting message of a key" in text


@pytest.mark.parametrize("other", ["ordering: key", "requires: [priority]"])
def test_on_nats_a_rule_goes_with_neither_order_nor_priority(problems: Problems, project: Make, other: str) -> None:
    [text] = problems(f"{NATS}{QUEUE}{other}, unique: {{key: header.x, for: running}}}}\n")
    assert f"unique: for: running and {other} cannot both hold on NATS" in text
    project(f"{NATS}{QUEUE}{other}, unique: {{key: header.x, for: 10m}}}}\n")
    project(f"{NATS}{QUEUE}unique: {{key: header.x, for: running}}}}\n")
