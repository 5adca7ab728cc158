"""The rules of health: the table, row by row, over series of facts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from tasuki.app.health.rules import (
    AWAY,
    BLOCKED,
    WINDOW,
    Answer,
    ChildFacts,
    ConsumerFacts,
    ConsumerRule,
    Finding,
    Kept,
    Level,
    ProcessFacts,
    findings_of,
    findings_of_children,
    problem_of,
)
from tasuki.supervisor.spec import State, Status

LOOK = 2.0
EMPTY = ConsumerFacts(delivered=7, settled=7, free=4)


def answered(at: float, *, ready: bool = False, error: str = "", is_away: bool = False) -> Answer:
    return Answer(at, at, ready, error, is_away)


def series(rule: ConsumerRule, facts: Callable[[float], ConsumerFacts], seconds: float, start: float = 0.0) -> Finding:
    """The finding after looks at such facts for so long."""
    finding, now = Finding(), start
    while now <= start + seconds:
        finding = rule.judge(now, facts(now))
        now += LOOK
    return finding


def first(rule: ConsumerRule, facts: Callable[[float], ConsumerFacts], level: Level, start: float) -> float:
    """Seconds until such facts lead to this level."""
    now = start
    while rule.judge(now, facts(now)).level != level:
        now += LOOK
        assert now - start < 100
    return now - start


def idle(now: float) -> ConsumerFacts:
    return replace(EMPTY, answer=answered(now))


def stuck(now: float) -> ConsumerFacts:
    return replace(EMPTY, answer=answered(now, ready=True))


def test_an_hour_of_idling_is_well() -> None:
    rule = ConsumerRule()
    for now in range(0, 3600, 2):
        assert rule.judge(now, idle(now)) == Finding()


def test_ready_messages_and_free_places_without_a_delivery() -> None:
    rule = ConsumerRule()
    series(rule, idle, 20)
    assert first(rule, stuck, "not_live", 22) <= 15 - LOOK
    finding = rule.judge(38, stuck(38))
    assert finding == Finding("not_live", "messages are ready, 4 free places, nothing received for 18 s")
    assert rule.judge(40, replace(stuck(40), delivered=8)).level == "ok"


@pytest.mark.parametrize(
    "change",
    [{"delivered": 8}, {"free": 0}, {"answer": answered(14.0)}],
    ids=["it moves", "all workers are busy", "nothing is ready"],
)
def test_one_better_look_starts_the_time_again(change: dict[str, object]) -> None:
    rule = ConsumerRule()
    series(rule, idle, 2)
    assert series(rule, stuck, 8, start=4).level == "ok"
    rule.judge(14, replace(stuck(14), **change))  # type: ignore[arg-type]
    later = change.get("delivered", 7)
    assert series(rule, lambda now: replace(stuck(now), delivered=int(str(later))), 8, start=16).level == "ok"


def test_an_answer_from_before_a_delivery_says_nothing() -> None:
    rule = ConsumerRule()
    series(rule, idle, 2)
    old = answered(3, ready=True)
    rule.judge(4, replace(EMPTY, delivered=8, settled=8, answer=old))
    assert series(rule, lambda now: replace(EMPTY, delivered=8, settled=8, answer=old), 60, start=6).level == "ok"


def test_a_process_that_was_suspended_is_not_stuck_at_once() -> None:
    rule = ConsumerRule()
    series(rule, idle, 2)
    assert rule.judge(1000, stuck(1000)).level == "ok"
    assert rule.judge(1002, stuck(1002)).level == "ok"
    late = replace(idle(2000), late_leases=900.0)
    assert rule.judge(2000, late).level == "ok"


@pytest.mark.parametrize(
    "facts",
    [stuck(4), replace(EMPTY, settled=6, unsettled=1), replace(idle(2), asked_since=4.0)],
    ids=["messages were ready", "one was not settled", "the broker was asked"],
)
def test_what_was_wrong_when_a_process_was_suspended_must_be_seen_again(facts: ConsumerFacts) -> None:
    rule = ConsumerRule()
    series(rule, idle, 2)
    assert rule.judge(4, facts).level == "ok"
    assert rule.judge(1000, facts).level == "ok"
    for now in range(1002, 1006, 2):
        assert rule.judge(now, facts).level == "ok"
    if facts.answer is None or not facts.answer.ready:  # else the answer is from before
        assert first(rule, lambda now: facts, "not_live", 1006) <= 15


def test_a_blocked_loop_is_no_time_without_progress() -> None:
    rule = ConsumerRule()
    series(rule, stuck, 10)
    rule.forget(100)
    assert rule.judge(102, stuck(102)).level == "ok"


def test_a_broker_that_owes_an_answer() -> None:
    rule = ConsumerRule()
    series(rule, idle, 4)

    def silent(now: float) -> ConsumerFacts:
        return replace(EMPTY, answer=answered(4), asked_since=8.0)

    assert first(rule, silent, "not_ready", 10) <= AWAY
    assert first(rule, silent, "not_live", 10) <= 15 - 4
    assert series(rule, silent, 2, start=22).text == "the broker has not answered for 20 s"
    told = replace(silent(26), problem="no answer", is_unanswered=True)
    assert rule.judge(26, told).level == "not_live"
    assert rule.judge(28, replace(told, is_unanswered=False)) == Finding("not_ready", "no answer")
    assert rule.judge(30, idle(30)).level == "ok"


def test_a_broker_that_gives_and_takes_messages_is_only_slow_to_count() -> None:
    rule = ConsumerRule()
    for now in range(0, 600, 2):
        moving = ConsumerFacts(now // 10, now // 10, free=4, asked_since=0.0)
        assert rule.judge(now, moving).level in ("ok", "not_ready")


def test_handled_messages_that_are_not_settled() -> None:
    rule = ConsumerRule()
    left = ConsumerFacts(delivered=7, settled=4, unsettled=3)
    series(rule, lambda now: replace(left, unsettled=0), 2)
    assert first(rule, lambda now: left, "not_live", 4) <= 15
    assert series(rule, lambda now: left, 20, start=20).text == "3 handled messages are not settled"
    assert rule.judge(42, replace(left, problem="the broker is unavailable")).level == "not_ready"
    assert rule.judge(44, replace(left, settled=5)).level == "ok"


def test_leases_that_are_not_renewed() -> None:
    rule = ConsumerRule()

    def late(now: float) -> ConsumerFacts:
        return replace(idle(now), late_leases=now)

    assert series(rule, late, BLOCKED - 1).level == "ok"
    assert series(rule, late, 6) == Finding("not_live", "leases of its messages are not renewed, 6 s late")
    assert rule.judge(8, replace(late(8), problem="away")).level == "not_ready"


def test_a_broker_that_is_away() -> None:
    never, after = ConsumerRule(), ConsumerRule(broker_red_after=600.0)
    away = replace(EMPTY, problem="it cannot receive: connection refused")
    assert series(never, lambda now: away, 3600) == Finding("not_ready", away.problem)
    assert series(after, lambda now: away, 598) == Finding("not_ready", away.problem)
    assert after.judge(602, away) == Finding("not_live", f"{away.problem}; for 602 s now")
    assert after.judge(604, idle(604)) == Finding()
    assert after.judge(606, away).level == "not_ready"
    told = replace(EMPTY, answer=answered(0, error="no route to host", is_away=True))
    rule = ConsumerRule()
    assert rule.judge(0, told) == Finding("not_ready", "no route to host")
    assert rule.judge(2, replace(told, delivered=8)).level == "warning", "it is back, and was not asked again yet"


def test_a_queue_that_cannot_be_counted_is_a_warning() -> None:
    found = ConsumerRule().judge(0, replace(EMPTY, answer=answered(0, error="access refused")))
    assert found == Finding("warning", "its queue cannot be counted: access refused")


def test_a_pause_is_well_and_said() -> None:
    rule = ConsumerRule()
    paused = replace(EMPTY, free=0, paused="until 14:00")
    assert series(rule, lambda now: replace(paused, answer=answered(now, ready=True)), 60) == Finding(
        "ok", "paused until 14:00"
    )


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        (ProcessFacts(), {}),
        (ProcessFacts("closed"), {"worker": ("not_ready", "the app is not open")}),
        (ProcessFacts("starting"), {"worker": ("not_ready", "starting")}),
        (ProcessFacts("stopping", running=3), {"worker": ("not_ready", "stopping, 3 running")}),
        (
            ProcessFacts(blocked_for=1.0, blocked_by=" by the handler app:h (message 1)"),
            {"loop": ("warning", "the event loop has been blocked for 1 s by the handler app:h (message 1)")},
        ),
        (ProcessFacts(blocked_for=6.0), {"loop": ("not_live", "the event loop has been blocked for 6 s")}),
        (ProcessFacts(keeper_silent_for=2.0), {}),
        (ProcessFacts(keeper_silent_for=6.0), {"leases": ("not_live", "no leases are renewed for 6 s")}),
        (ProcessFacts(threads={"keeper": "OSError"}), {"thread keeper": ("not_ready", "OSError")}),
        (
            ProcessFacts(services={"app:a": Status(State.FAILED, failures=7, error=ValueError("refused"))}),
            {"driver app:a": ("not_ready", "it has failed, attempt 7: refused")},
        ),
        (
            ProcessFacts(services={"app:a": Status(State.RUNNING)}, refusals={"app:a": "memory alarm"}),
            {"driver app:a": ("not_ready", "the broker takes no messages: memory alarm")},
        ),
        (ProcessFacts(services={"app:a": Status(State.RUNNING)}), {}),
    ],
)
def test_a_process(facts: ProcessFacts, expected: dict[str, tuple[str, str]]) -> None:
    assert {name: tuple(found) for name, found in findings_of(facts) if found.level != "ok"} == expected


@pytest.mark.parametrize(
    ("status", "problem"),
    [
        (None, ""),
        (Status(), ""),
        (Status(State.RUNNING), ""),
        (Status(State.STARTING), "starting"),
        (Status(State.FAILED, error=ValueError("no")), "it has failed: no"),
        (Status(State.FAILED, failures=2, error=ValueError("no")), "it has failed, attempt 2: no"),
        (Status(State.FAILED, error=ValueError("no"), has_given_up=True), "it has given up: no"),
    ],
)
def test_problems_of_services(status: Status | None, problem: str) -> None:
    assert problem_of(status) == problem


WELL, STUCK = ChildFacts(), ChildFacts(level="not_live", texts=("consumer app:c: stuck",))


@pytest.mark.parametrize(
    ("children", "expected"),
    [
        ([WELL, WELL], {}),
        ([WELL, STUCK], {"process 2": ("not_live", "consumer app:c: stuck")}),
        ([WELL, ChildFacts(starting_for=299.0)], {"process 2": ("warning", "starting")}),
        ([WELL, ChildFacts(down_for=1.0)], {"process 2": ("warning", "it has not run for 1 s")}),
        ([WELL, ChildFacts(down_for=WINDOW)], {"process 2": ("not_live", "it has not run for 12 s")}),
        ([WELL, ChildFacts(silent_for=2.0)], {"process 2": ("warning", "no sign of life for 2 s")}),
        ([WELL, ChildFacts(silent_for=14.0)], {"process 2": ("not_live", "no sign of life for 14 s")}),
        (
            [ChildFacts(starting_for=1.0), ChildFacts(down_for=1.0), WELL],
            {
                "process 1": ("warning", "starting"),
                "process 2": ("warning", "it has not run for 1 s"),
                "processes": ("not_ready", "1 of 3 processes are ready"),
            },
        ),
    ],
)
def test_several_processes(children: list[ChildFacts], expected: dict[str, tuple[str, str]]) -> None:
    found = findings_of_children(dict(enumerate(children, 1)))
    assert {name: tuple(finding) for name, finding in found if finding.level != "ok"} == expected


@pytest.mark.parametrize(
    ("kept", "level"),
    [
        (Kept(), "ok"),
        (Kept(3, 20.0, "cannot be settled: gone"), "ok"),
        (Kept(3, 31.0, "cannot be settled: gone"), "warning"),
        (Kept(20, 3.0, "cannot be settled: gone", is_all=True), "ok"),
        (Kept(20, 5.0, "cannot be settled: gone", is_all=True), "not_ready"),
    ],
)
def test_kept_messages(kept: Kept, level: Level) -> None:
    finding = series(ConsumerRule(), lambda now: replace(EMPTY, answer=answered(now), kept=kept), 20)
    assert finding.level == level
    if level != "ok":
        assert finding.text.startswith(
            f"{kept.messages} handled messages are kept, the oldest for {kept.seconds:.0f} s"
        )
        assert "cannot be settled: gone" in finding.text
        assert ("they leave no place for others" in finding.text) == kept.is_all


def test_a_consumer_that_cannot_read_what_is_cancelled_is_not_ready() -> None:
    finding = series(ConsumerRule(), lambda now: replace(EMPTY, answer=answered(now), unreadable="gone"), 4)
    assert finding == Finding("not_ready", "it starts nothing, as cancelled messages cannot be read: gone")
