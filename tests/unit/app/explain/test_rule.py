"""The rule of explain, row by row: facts in, the codes of the causes out, the first one first."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tasuki.app.explain.facts import AtWork, Declared, Facts, lives_of
from tasuki.app.explain.rule import away_from, explain, without
from tasuki.contracts.driver import Depth, Limit, Where
from tasuki.message import DEAD_LETTER_REASON, DUE, LAST_ERROR, Message
from tasuki.queues.dead.attempts import AttemptRecord
from tasuki.state.job_records import JobError, JobRecord
from tasuki.state.job_status import Known
from tasuki.state.pauses import Pause
from tasuki.state.worker_record import PresentConsumer, RunningMessage

NOW = 1000.0
WAITS = Message("m", b"", {})
LETTER = Message("m", b"", {DEAD_LETTER_REASON: "rejected"})
ONE = (Declared("app:work"),)


def event(kind: str, at: float, message: str | None = "m", value: Any = None, attempt: int = 1) -> dict[str, Any]:
    return {"at": at, "kind": kind, "message": message, "attempt": attempt, "value": value}


def work(
    *events: dict[str, Any], seen: float = NOW, running: tuple[RunningMessage, ...] = (), places: int = 4
) -> AtWork:
    consumer = PresentConsumer("app:work", "mail", "d", places, len(running), messages=running)
    return AtWork("web:7", seen, consumer, events)


def facts(*workers: AtWork, **changes: Any) -> Facts:
    known: dict[str, Any] = {"consumers": ONE, "depth": Depth(1, 0, 0, None), "workers": workers}
    return Facts(NOW, "m", "app:mail", "app:driver", **{**known, "lives": lives_of("m", workers), **changes})


def recorded(status: Any, **fields: Any) -> Known:
    return Known(NOW, keeps_records=True, record=JobRecord(status, 997.0, **fields))


def located(where: Where | None = None) -> Known:
    return Known(NOW, is_located=True, where=where)


RUNS = RunningMessage("m", "app:send", 991.0)
OTHER = RunningMessage("x", "app:send", 988.0, "acme")
GIVEN = [event("received", 999.95 - number / 100, f"r{number}") for number in range(5)]
MOVED = [
    event("received", 990.0),
    event("dead-lettered", 996.0, value="app:dead"),
    event("settled", 997.0, value="ack"),
]
DEPTH = Depth(0, 0, 1, None)
FAILED = Message("m", b"", {DUE: 5.0, LAST_ERROR: "boom\nmore"})
ROWS: list[tuple[Facts, list[str], str]] = [
    (facts(depth=Depth(0, 0, 0, None)), ["no such message"], "no such message in app:mail"),
    (facts(is_missing=True, depth=None), ["no such message"], "does not exist at its broker yet"),
    (facts(can_look=False), ["cannot look", "no worker"], "1 ready, 0 held, 0 delayed"),
    (facts(can_look=False, depth=None), ["cannot look", "no worker"], "its counts cannot be read"),
    (facts(is_bounded=True, searched=10_000), ["too deep", "no worker"], "first 10,000 waiting"),
    (facts(depth=Depth(0, 2, 0, None), lease=5.0), ["held", "no worker"], "its death is seen or its lease of 5s ends"),
    (facts(work(event("received", 998.0, "x"), running=(OTHER,)), depth=Depth(0, 1, 0, None)), ["no such message"], ""),
    (facts(work(event("received", 998.0, "y"), event("received", 998.0, "z"), event("settled", 999.0, "z", "ack"),
                running=(OTHER,)), depth=Depth(0, 3, 0, None)), ["held"], "1 of the queue are held"),
    (facts(known=located(), depth=Depth(0, 2, 0, None)), ["no such message"], "it is settled, or never was there"),
    (facts(known=located(), is_bounded=True, searched=10_000), ["no such message"], ""),
    (facts(known=located("ready"), is_bounded=True, searched=10_000), ["waiting", "no worker"],
     "it is waiting, behind the first 10,000 that wait; 1 ready"),
    (facts(known=located("delayed"), is_bounded=True, searched=10_000), ["delayed", "no worker"],
     "it is delayed, behind the first 10,000 that wait; 1 ready"),
    (facts(known=recorded("waiting"), can_look=False), ["waiting", "no worker"], "it is waiting, as its record says"),
    (facts(known=recorded("waiting", due=1060.0), can_look=False), ["delayed", "no worker"], "it is delayed"),
    (facts(known=Known(NOW, keeps_records=True), can_look=False), ["no such message"], ""),
    (facts(letter=LETTER, dead_letters="app:dead"), ["dead"],
     "dead (rejected), in app:dead"),
    (facts(letter=Message("m", b"", {}), dead_letters="app:dead"), ["dead"], "dead (no reason given)"),
    (facts(message=LETTER, consumers=()), ["dead"], "dead (rejected), in app:mail"),
    (facts(work(), message=LETTER), ["next"], ""),
    (facts(is_cancelled=True), ["cancelled"], "nothing brings it back"),
    (facts(work(running=(RUNS,)), is_cancelled=True), ["cancelled", "running"], "nothing brings it back"),
    (facts(known=recorded("done")), ["settled"], "settled 3s ago: done"),
    (facts(known=recorded("failed", error=JobError("no"))), ["settled"], "given up (no)"),
    (facts(work(message := event("received", 998.0))), ["prefetched"], "by worker web:7 2s ago, not started"),
    (facts(work(message, event("suspended", 998.0))), ["suspect"], "free single place"),
    (facts(work(message, event("started", 991.0), event("lease renewed", 999.0, None, 1))), ["running"],
     "running on web:7 for 9s, lease renewed 1s ago"),
    (facts(work(running=(RUNS,))), ["running"], "running on web:7 for 9s"),
    (facts(work(event("started", 991.0), running=(RUNS,))), ["running"], "for 9s"),
    (facts(work(running=(RunningMessage("m", "app:send", 991.0, is_lost=True),)), message=WAITS), ["running"],
     "running on web:7 for 9s; its lease is lost, so it may run twice"),
    (facts(work(running=(RUNS,), seen=988.0)), ["held"],
     "web:7 ran it, and gave no sign for 12s: if that worker died, the message is redelivered when its death is seen "
     "or its lease of 30s ends"),
    (facts(work(message, event("ended", 999.0))), ["ended"], "has not confirmed its settlement"),
    (facts(work(event("settled", 997.0, value="ack"))), ["settled"], "settled 3s ago by worker web:7 (ack)"),
    (facts(work(*MOVED), can_look=False), ["dead"], "dead, moved to app:dead by worker web:7 3s ago"),
    (facts(work(*MOVED), dead_letters="app:dead"), ["dead"], "3s ago, and is not seen there any more"),
    (facts(work(*MOVED), letter=LETTER, dead_letters="app:dead"), ["dead"], "dead (rejected), in app:dead"),
    (facts(work(*MOVED, event("received", 998.0), event("settled", 999.0, value="ack"))), ["settled"],
     "settled 1s ago by worker web:7 (ack)"),
    (facts(work(event("settled", 997.0, value="nack")), depth=Depth(0, 0, 0, None)), ["no such message"], ""),
    (facts(work(), message=WAITS), ["next"], "nothing holds it back"),
    (facts(work(), message=Message("m", b"", {DUE: NOW + 90})), ["delayed"], "in 1m30s (as it was published)"),
    (facts(work(), message=FAILED, depth=DEPTH), ["delayed"],
     "delayed (retry): it failed, and waits for its next attempt; last: boom"),
    (facts(work(), message=FAILED, depth=DEPTH, attempts=[AttemptRecord(attempt=1, at=900.0, place="old.py:f"),
                                                          AttemptRecord(attempt=2, at=997.0)]), ["delayed"],
     "last: boom; attempt 2 failed 3s ago"),
    (facts(work(), message=FAILED, depth=DEPTH,
           attempts=[AttemptRecord(attempt=3, at=997.0, worker="web:7", place="mail.py:send")]), ["delayed"],
     "attempt 3 failed 3s ago on web:7 at mail.py:send"),
    (facts(work(), message=WAITS, depth=DEPTH, sleeps=[("nap", 1060.0), ("old", 1.0)]), ["delayed"],
     "sleeps or waits (nap) until 1970-01-01T00:17:40Z"),
    (facts(work(), message=WAITS, depth=DEPTH), ["delayed"], "does not tell until when"),
    (facts(work(), message=WAITS, depth=DEPTH, delay=90.0), ["delayed"],
     "delayed until 1970-01-01T00:18:10Z, in 1m30s (its handler postponed it, or its publisher)"),
    (facts(work(), message=FAILED, depth=DEPTH, delay=90.0), ["delayed"],
     "waits for its next attempt at 1970-01-01T00:18:10Z, in 1m30s; last: boom"),
    (facts(work(), message=FAILED, depth=Depth(5, 0, 1, None), delay=90.0), ["delayed"], "in 1m30s; last: boom"),
    (facts(work(), message=FAILED, depth=DEPTH, delay=0.0), ["next"], ""),
    (facts(work(), message=Message("m", b"", {DUE: NOW + 90}), depth=DEPTH, delay=0.0), ["next"], ""),
    (facts(work(), message=WAITS, pause=Pause(1.0, 1060.0, "ann")), ["paused"], "until 1970-01-01T00:17:40Z, by ann"),
    (facts(message=WAITS, consumers=()), ["no consumer"], "no consumer is declared"),
    (facts(work(), message=WAITS, consumers=(Declared("c", "policy 'p' denies"),)), ["denied"], "policy 'p'"),
    (facts(work(), message=WAITS, consumers=(Declared("c", "", Pause(1.0)),)), ["paused"], "consumer c is paused"),
    (facts(message=WAITS, knows_workers=False), ["workers unknown"], "has no state"),
    (facts(message=WAITS), ["no worker"], "no worker of it has given a sign for 15s"),
    (facts(work(seen=986.0), message=WAITS), ["no worker"], "given a sign for 14s"),
    (facts(work(running=(OTHER,), places=1), message=WAITS), ["busy"], "1 of 1 handlers run"),
    (facts(work(*GIVEN), message=WAITS, limit=Limit(10.0)), ["limit"], "limit 10/s of queue app:mail is reached: next"),
    (facts(work(*GIVEN, *(event("released", 999.99, f"r{n}") for n in range(5))), message=WAITS, limit=Limit(10.0)),
     ["next"], ""),
    (facts(work(), message=WAITS, limit=Limit(concurrency=2), depth=Depth(1, 2, 0, None)), ["limit"], "2 are held"),
    (facts(work(event("limited", 999.0, None)), message=WAITS, limit=Limit(concurrency=2)), ["limit"], "is reached"),
    (facts(work(), message=WAITS, limit=Limit(concurrency=2)), ["next"], ""),
    (facts(work(), message=WAITS, lane_limit="10/s for each key", lane="acme"), ["lane limit"], "of 'acme' is used"),
    (facts(work(running=(OTHER,), places=1), message=WAITS, lane_limit="1/s", key="acme", place=2,
           depth=Depth(9, 0, 0, None)),
     ["busy", "key held", "behind", "lane limit"], "all workers are busy"),
    (facts(work(), message=Message("m", b"", {DUE: NOW + 90}), lane_limit="1/s"), ["delayed"], ""),
    (facts(work(running=(OTHER,)), message=WAITS, key="acme", before="l"), ["key held", "key held"],
     "key 'acme' is held by message x, running on web:7 for 12s"),
    (facts(work(running=(OTHER,)), message=WAITS, key="b"), ["next"], ""),
    (facts(work(event("settled", 990.0, "a", "ack"), event("settled", 995.0, "b", "ack")), message=WAITS, place=30,
           depth=Depth(40, 0, 0, None)), ["behind"], "behind 30 others, about 2m30s at the current rate"),
    (facts(work(), message=WAITS, place=1, depth=Depth(2, 0, 0, None)), ["behind"], "behind 1 other"),
]  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=lambda row: " ".join(row[1]))
def test_a_row(row: tuple[Facts, list[str], str]) -> None:
    seen, codes, text = row
    found = explain(seen)
    assert [cause.code for cause in found.causes] == codes
    assert text in found.causes[0].text
    unseen = {"no such message": False, "cannot look": None, "too deep": None}
    if seen.known is None and text != "web:7 ran it" and (not seen.workers or seen.depth != Depth(1, 0, 0, None)):
        unseen["held"] = None
    assert found.found is unseen.get(codes[0], True)


def test_what_its_broker_says_is_held_is_found_though_no_worker_tells_of_it() -> None:
    held = explain(facts(work(), known=located("held")))
    runs = explain(facts(work(), known=recorded("running"), can_look=False))

    assert (held.found, runs.found) == (True, True)
    assert held.causes[0].text.startswith("a worker holds it, and does not report it: a dead one has it until")
    assert runs.causes[0].text.startswith("its handler has started, and no worker reports it: a dead one has it")


def test_the_remedy_of_a_dead_letter_is_about_it_alone() -> None:
    letter = explain(facts(letter=LETTER, dead_letters="app:dead"))
    failed = [AttemptRecord(attempt=3, at=997.0, worker="web:7", place="mail.py:send")]
    unseen = explain(facts(can_look=False, unseen_letters="app:dead", attempts=failed))

    taken = explain(facts(work(*MOVED), dead_letters="app:dead"))
    assert letter.causes[0].act == "redrive it: tasuki redrive app:dead --id m"
    assert taken.causes[0].act == "tasuki audit says who took it from there", "a redrive would find nothing"
    assert unseen.causes[0].act == "look among its dead letters: tasuki dead app:dead --id m"
    assert "no worker or record tells where it is; attempt 3 failed 3s ago on web:7 at mail.py:send" in (
        unseen.causes[0].text
    )
    assert explain(replace(facts(letter=LETTER, dead_letters="d"), id="a b")).causes[0].act.endswith("--id 'a b'")


def test_a_worker_has_what_it_fetched_until_it_settles_or_releases_it() -> None:
    fetched, settled = event("received", 998.0), event("settled", 999.0, value="ack")
    assert facts(work(fetched)).is_with_worker
    assert not facts(work(fetched, settled)).is_with_worker
    assert not facts(work()).is_with_worker


def test_the_newest_worker_counts() -> None:
    older = work(event("received", 900.0))
    newer = AtWork("b:1", NOW, older.consumer, [event("started", 950.0)])
    assert "b:1" in explain(facts(older, newer)).causes[0].text


def test_a_queue_that_is_away_leaves_it_open() -> None:
    away = away_from("app:far", OSError("redis://:secret@far: no answer\nmore"))
    gone = explain(facts(depth=Depth(0, 0, 0, None)))
    held = explain(facts(depth=Depth(0, 2, 0, None)))
    here = explain(facts(work(), message=WAITS))

    assert away.text == "could not look at queue app:far: redis://:***@far: no answer"
    assert without([], [gone, held], "m") == held
    assert without([away], [gone, here], "m") == here
    found = without([away], [gone], "m")
    assert (found.queue, found.found, found.causes) == ("app:mail", None, [away, *gone.causes])
    assert without([away], [], "m").causes == [away]


def test_a_search_in_all_queues_does_not_send_to_another_one() -> None:
    gone = explain(facts(depth=Depth(0, 0, 0, None)))

    found = without([], [gone] * 12, "m")

    assert (found.queue, found.found) == ("", False)
    (cause,) = found.causes
    assert cause.text.endswith("app:mail and 2 more: it is settled, or never was there")
    assert not cause.act
    assert without([], [gone], "m") == gone


@pytest.mark.parametrize(
    ("known", "command"),
    [
        (facts(letter=LETTER, dead_letters="app:dead"), "tasuki redrive app:dead --id m"),
        (facts(work(running=(RUNS,))), "tasuki cancel m"),
    ],
)
def test_a_command_is_about_this_message_alone(known: Facts, command: str) -> None:
    assert explain(known).causes[0].act.endswith(command)


def test_an_id_is_one_word_of_a_command() -> None:
    hostile = "m; rm -rf $HOME"
    waits = Message(hostile, b"", {DUE: NOW + 90})
    [cause] = explain(Facts(NOW, hostile, "app:mail", consumers=ONE, message=waits)).causes[:1]
    assert cause.act == f"cancel it: tasuki cancel '{hostile}'"


def test_a_handler_that_is_asked_to_end_is_not_to_be_cancelled_again() -> None:
    for worker in (work(running=(RUNS,)), work(event("received", 990.0), event("started", 991.0))):
        acts = {cause.code: cause.act for cause in explain(facts(worker, is_cancelled=True)).causes}
        assert acts == {
            "cancelled": "publish it under a new id",
            "running": "its handler is interrupted: a plain function at its next step of Python code",
        }
        assert "tasuki cancel" in explain(facts(worker)).causes[0].act


def test_a_cancelled_message_that_has_ended_is_not_to_be_published_under_its_id() -> None:
    ended = work(event("settled", 997.0, value="ack"))
    for known in (facts(ended, is_cancelled=True), facts(known=recorded("done"), is_cancelled=True)):
        acts = [(cause.code, cause.act) for cause in explain(known).causes]
        assert acts == [("cancelled", "publish it under a new id"), ("settled", "")]
    assert explain(facts(ended)).causes[0].act == "publish it again to run it again"
