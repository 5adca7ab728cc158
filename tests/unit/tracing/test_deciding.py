from __future__ import annotations

import os
import random

import pytest
from opentelemetry.sdk.trace.sampling import (
    ALWAYS_OFF,
    ALWAYS_ON,
    DEFAULT_OFF,
    DEFAULT_ON,
    ParentBased,
    ParentBasedTraceIdRatio,
    Sampler,
    TraceIdRatioBased,
)

from tasuki.observe.trace import is_unsampled, traceparent_of
from tasuki.tracing.deciding import is_chosen, obeys_the_flag, unrecorded


def test_a_coin_chooses_a_share_of_the_traces() -> None:
    random.seed(7)

    assert all(is_chosen(1.0) for _ in range(1000))
    assert not any(is_chosen(0.0) for _ in range(1000))
    assert 50 < sum(is_chosen(0.1) for _ in range(1000)) < 150


def test_a_trace_that_is_not_recorded_has_an_id_of_its_own() -> None:
    found = [unrecorded() for _ in range(100)]

    assert len(set(found)) == 100
    assert all(is_unsampled(each) and traceparent_of(each) for each in found)


@pytest.mark.parametrize(
    ("sampler", "obeys"),
    [
        (DEFAULT_ON, True),
        (DEFAULT_OFF, True),
        (ParentBasedTraceIdRatio(0.1), True),
        (ALWAYS_OFF, True),
        (ALWAYS_ON, False),
        (TraceIdRatioBased(0.1), False),
        (ParentBased(ALWAYS_ON, remote_parent_not_sampled=ALWAYS_ON), False),
        (ParentBased(ALWAYS_ON, local_parent_not_sampled=ALWAYS_ON), False),
    ],
)
def test_whether_a_sampler_records_what_its_parent_did_not(sampler: Sampler, obeys: bool) -> None:
    assert obeys_the_flag(sampler.get_description()) is obeys


def test_a_forked_child_has_ids_of_its_own() -> None:
    reader, writer = os.pipe()
    if (child := os.fork()) == 0:
        os.write(writer, unrecorded().encode())
        os._exit(0)
    os.waitpid(child, 0)
    theirs, mine = os.read(reader, 100).decode(), unrecorded()
    os.close(reader)
    os.close(writer)
    assert traceparent_of(theirs) is not None
    assert theirs[:24] != mine[:24]
