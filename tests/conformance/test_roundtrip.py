"""What an application publishes comes back identical from every driver: body, headers, id, whatever they hold."""

from __future__ import annotations

import asyncio
import math
from contextlib import AsyncExitStack
from typing import Any
from unittest import SkipTest

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tasuki.queues.messages.message_builder import Envelope
from tasuki.queues.result import Confirmed
from tasuki.testing.conformance.driver.stress import Line
from tasuki.testing.conformance.rig import Rig, open_rig
from tests.conformance.mutate import SUITES, suite_of

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
NAMES = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp", "Zs", "Cf", "Co", "Cn"]), max_size=30)
NUMBERS = st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)
HEADER_NAMES = (
    NAMES.filter(lambda name: name and name.isprintable() and name != "attempts" and not name.startswith("x_"))
    | st.sampled_from(["amqp.expiration", "amqp.x", "sqs.a", "correlation_id", "message_type", "traceparent", "source"])
).filter(lambda name: name not in {"timestamp", "content_type", "priority", "partition_key", "reply_to"})
HEADERS = st.dictionaries(HEADER_NAMES, st.booleans() | NUMBERS | TEXT, max_size=8)
MESSAGES = st.lists(st.tuples(JSON | st.binary(max_size=200), HEADERS), min_size=1, max_size=10)

SPECIAL: list[tuple[Any, dict[str, Any]]] = [
    ([], {}),
    ({}, {"empty": ""}),
    ({"list": [], "object": {}, "null": None, "deep": [[[{"a": [1.0, 1, "1", True]}]]]}, {"max": 2**63 - 1}),
    (b"", {"min": -(2**63), "float": 1.0, "int": 1, "true": True, "tiny": 5e-324, "minus": -0.0}),
    (bytes(range(256)), {"Ünïcode 襷": "🎌\n\t\x00", "amqp.priority": 3, "sqs.group": "g", "x-death": "mine"}),
    (0, {"correlation_id": "c", "reply_to_": "r", "message_type": "t", "encoding": "e", "schema": "s", "source": "o"}),
    ("x" * (2**20 - 2), {}),
]


async def roundtrip(rig: Rig, line: Line, messages: list[tuple[Any, dict[str, Any]]]) -> None:
    largest = rig.driver.capabilities.max_message_bytes or 2**62
    fitting = [one for one in messages if not isinstance(one[0], str) or len(one[0]) < largest * 0.7]
    results = await line.queue.publish_many([Envelope(body=body, headers=headers) for body, headers in fitting])
    assert all(isinstance(result, Confirmed) for result in results), results
    got = {received.id: received for received in await rig.take(len(fitting))}
    for (body, headers), result in zip(fitting, results, strict=True):
        received = got[result.id]
        assert same(line.queue.decode(received), body), received
        kept = {name: value for name, value in received.headers.items() if name not in {"timestamp", "content_type"}}
        assert same(kept, headers), received
        assert type(received.headers["timestamp"]) is int
    await rig.ack(*got.values())


def same(one: Any, other: Any) -> bool:
    """Equal, with types: 1, 1.0 and True are three things, and so are 0.0 and -0.0."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, float):
        return one == other and math.copysign(1, one) == math.copysign(1, other)
    return bool(one == other)


@pytest.mark.parametrize("name", SUITES)
def test_what_goes_in_comes_out(name: str) -> None:
    suite = suite_of(name)()
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        try:
            rig = runner.run(stack.enter_async_context(open_rig(suite)))
        except SkipTest as reason:
            pytest.skip(str(reason))
        try:
            line = runner.run(Line(rig, spec={"lease": 60.0}).open())
            runner.run(roundtrip(rig, line, SPECIAL))

            @settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
            @given(MESSAGES)
            def check(messages: list[tuple[Any, dict[str, Any]]]) -> None:
                runner.run(roundtrip(rig, line, messages))

            check()
        finally:
            runner.run(stack.aclose())
