"""What has become of a message, judged from the facts about it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tasuki.state.job_records import WAITS, JobRecord
from tasuki.state.job_status import Known, status_of

NOW = 1000.0
RECORDED = Known(NOW, keeps_records=True)
LOCATED = Known(NOW, is_located=True)


def record(status: Any, **fields: Any) -> JobRecord:
    return JobRecord(status, NOW, **fields)


def judged(known: Known, **facts: Any) -> str | None:
    return status_of(replace(known, **facts))


def test_where_the_broker_says_that_it_waits_it_waits_whatever_was_recorded() -> None:
    for old in (None, record("running"), record("done"), record("dead")):
        assert judged(LOCATED, where="ready", record=old) == "waiting"
        assert judged(LOCATED, where="delayed", record=old) == "delayed"


@pytest.mark.parametrize("status", ["running", "done", "cancelled"])
def test_a_held_message_is_as_its_record_says(status: str) -> None:
    assert judged(LOCATED, where="held", record=record(status)) == status


@pytest.mark.parametrize("status", ["failed", "dead", "expired"])
def test_a_held_message_that_has_just_been_given_up_is_not_settled_yet_and_an_older_one_was_redriven(
    status: str,
) -> None:
    assert judged(LOCATED, where="held", record=record(status), now=NOW + 29) == status
    assert judged(LOCATED, where="held", record=record(status), now=NOW + 30) == "waiting"


def test_a_held_message_that_has_not_started_waits() -> None:
    assert judged(LOCATED, where="held", record=record("waiting")) == "waiting"


def test_of_a_held_message_without_a_record_the_worker_tells_what_runs() -> None:
    assert judged(LOCATED, where="held") == "waiting"
    assert judged(LOCATED, where="held", is_running=True, is_cancelled=True) == "running"
    assert judged(LOCATED, where="held", is_cancelled=True) == "cancelled"


def test_a_message_that_the_broker_does_not_have_is_over() -> None:
    assert judged(LOCATED, record=record("done")) == "done"
    assert judged(LOCATED, record=record("running")) == "unknown"
    assert judged(LOCATED) == "unknown"
    assert judged(LOCATED, is_dead=True, is_cancelled=True) == "dead"
    assert judged(LOCATED, is_cancelled=True) == "cancelled"
    assert judged(LOCATED, is_running=True) == "running"  # acked before its handler ends


@pytest.mark.parametrize("status", ["waiting", "running", "done", "failed", "dead", "cancelled", "expired"])
def test_where_the_broker_does_not_say_the_record_counts(status: str) -> None:
    assert judged(RECORDED, record=record(status)) == status


def test_a_recorded_delay_ends_by_its_time() -> None:
    assert judged(RECORDED, record=record("waiting", due=NOW + 1)) == "delayed"
    assert judged(RECORDED, record=record("waiting", due=NOW)) == "waiting"


def test_a_record_from_before_a_purge_does_not_count_unless_it_is_the_last_one() -> None:
    assert judged(RECORDED, record=record("waiting"), is_purged=True) == "unknown"
    assert judged(RECORDED, record=record("done"), is_purged=True) == "done"


def test_without_a_record_it_is_unknown_only_where_one_would_tell() -> None:
    assert judged(RECORDED) == "unknown"
    assert judged(Known(NOW)) is None
    assert judged(Known(NOW), where="ready") == "waiting"
    assert judged(Known(NOW), is_running=True) == "running"


def test_a_worker_of_this_process_knows_best_unless_the_end_is_recorded() -> None:
    assert judged(RECORDED, here="waiting") == "waiting"
    assert judged(RECORDED, here="running", record=record("waiting")) == "running"
    assert judged(RECORDED, here="running", record=record("dead")) == "running"  # redriven
    assert judged(RECORDED, here="running", record=record("done")) == "done"


def test_records_of_what_has_not_ended_outlive_the_ttl_of_the_queue() -> None:
    assert record("done").ttl(60.0) == 60.0
    assert record("waiting").ttl(60.0) == WAITS
    assert record("waiting", due=NOW + 3600).ttl(60.0) == WAITS + 3600
    assert record("running").ttl(2 * WAITS) == 2 * WAITS
