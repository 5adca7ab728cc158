"""The rule: from facts about a message to the causes why it does not run, the first one first; no I/O."""

from __future__ import annotations

from collections.abc import Iterator
from shlex import quote
from typing import Literal

import msgspec

from tasuki.app.explain.facts import Facts, Life, is_held_back, next_token, rate_of
from tasuki.message import DEAD_LETTER_REASON, DUE, LAST_ERROR
from tasuki.observe.plain import escape
from tasuki.observe.redact import redact
from tasuki.queues.policy import limit_text
from tasuki.state.job_status import status_of
from tasuki.state.pauses import text_of_time
from tasuki.state.worker_record import TTL, RunningMessage, late_after
from tasuki.units import format_duration

_NAMED = 10
"""Queues that an answer names after a search in many."""

_AGAIN = "publish it again to run it again"

Code = Literal[
    "dead", "cancelled", "running", "prefetched", "suspect", "ended", "settled", "delayed", "paused", "no consumer",
    "no worker", "workers unknown", "denied", "limit", "lane limit", "key held", "busy", "behind", "next",
    "waiting", "no such message", "held", "too deep", "cannot look", "away",
]  # fmt: skip


class Cause(msgspec.Struct, frozen=True):
    """Why a message does not run now, or that it does."""

    code: Code
    """Stable, for programs."""
    text: str
    act: str = ""
    """What changes it; empty: nothing needs to be done, or can be."""


class Explanation(msgspec.Struct, frozen=True):
    """The causes, the first one that holds first."""

    id: str
    queue: str
    found: bool | None
    """None: it is not known, as the broker does not show its messages, or an unseen worker holds some."""
    causes: list[Cause]


def explain(facts: Facts) -> Explanation:
    """Judge the facts."""
    own = list(_of_message(facts))
    found: bool | None = bool(own)
    is_letter = any(cause.code == "dead" for cause in own)
    held_back = list(_of_queue(facts)) if (facts.message is not None or not own) and not is_letter else []
    if facts.message is not None:
        found = True
        own += held_back
        own += _in_line(facts) if not any(cause.code in ("dead", "delayed") for cause in own) else ()
        own = own or [Cause("next", "nothing holds it back: it is next")]
    elif not own:
        unseen, found = _unseen(facts)
        own = [unseen, *(held_back if found is not False else ())]
    return Explanation(facts.id, facts.queue, found, own)


def away_from(queue: str, error: Exception) -> Cause:
    """A queue that could not be looked at."""
    text = escape(redact(str(error)).partition("\n")[0])[:200]
    return Cause("away", f"could not look at queue {queue}: {text}", "ask again when its broker or store is back")


def without(away: list[Cause], told: list[Explanation], id: str) -> Explanation:
    """Of what the queues tell that could be looked at, the best; the others are why nothing is certain.

    ``told`` or ``away`` has one at least.
    """
    best = min(told, key=lambda each: (each.found is not True, each.found is not None), default=None)
    if best is None:
        return Explanation(id, "", None, away)
    if best.found is False and not away and len(told) > 1:
        places = ", ".join(each.queue for each in told[:_NAMED])
        more = f" and {len(told) - _NAMED} more" if len(told) > _NAMED else ""
        gone = Cause("no such message", f"no such message in {places}{more}: it is settled, or never was there")
        return Explanation(id, "", False, [gone])
    if best.found or not away:
        return best
    return Explanation(id, best.queue, None, [*away, *best.causes])


def ago(facts: Facts, at: float) -> str:
    """How long ago a moment is: ``9s``."""
    return _short(max(facts.now - at, 0.0))


def _short(seconds: float) -> str:
    return format_duration(round(seconds) if seconds >= 10 else max(round(seconds, 1), 0.1))


def _word(id: str) -> str:
    """An id as one word of a command: publishers choose ids, and people copy the command into a shell."""
    return quote(escape(id))


def _of_message(facts: Facts) -> Iterator[Cause]:
    """The causes in the message itself."""
    letter, place = facts.letter, facts.dead_letters
    if facts.message is not None and DEAD_LETTER_REASON in facts.message.headers and not facts.consumers:
        letter, place = facts.message, facts.queue
    if letter is not None:
        reason = escape(str(letter.headers.get(DEAD_LETTER_REASON, "")))[:200]
        act = f"redrive it: tasuki redrive {place} --id {_word(facts.id)}"
        yield Cause("dead", f"dead ({reason or 'no reason given'}), in {place}{_last_attempt(facts)}", act)
    if facts.is_cancelled:
        yield Cause("cancelled", "cancelled: nothing brings it back for 7 days", "publish it under a new id")
    yield from _at_a_worker(facts)
    if (record := facts.record) is not None and record.is_final and record.status != "cancelled":
        text = f"settled {ago(facts, record.at)} ago: {'done' if record.status == 'done' else 'given up'}"
        error = "" if record.error is None else f" ({escape(record.error.text)[:200]})"
        yield Cause("settled", text + error, "" if facts.is_cancelled else _AGAIN)
    if facts.message is not None and (delayed := _delayed(facts)) is not None:
        yield delayed


def _at_a_worker(facts: Facts) -> Iterator[Cause]:
    life = facts.lives[0] if facts.lives and facts.message is None else None
    running = [
        (work, message)
        for work in facts.workers
        for message in work.consumer.messages
        if message.id == facts.id and (facts.message is None or message.is_lost)
    ]
    cancel = f"cancel it: tasuki cancel {_word(facts.id)}"
    if facts.is_cancelled:
        cancel = "its handler is interrupted: a plain function at its next step of Python code"
    if life is not None and life.stage != "started" and (cause := _of_life(facts, life)) is not None:
        yield cause
        return
    if running:
        work, message = running[0]
        if life is None and facts.now - work.seen > late_after(work.consumer.running):
            text = (
                f"{work.worker} ran it, and gave no sign for {ago(facts, work.seen)}: if that worker died, the message "
                f"is redelivered when its death is seen or its lease of {format_duration(facts.lease)} ends"
            )
            yield Cause("held", text)
            return
        since = life.at if life is not None and life.stage == "started" else message.since
        yield Cause(
            "running", f"running on {work.worker} for {ago(facts, since)}{_lease(facts, life, message)}", cancel
        )
    elif life is not None and life.stage == "started":
        yield Cause("running", f"running on {life.worker} for {ago(facts, life.at)}{_lease(facts, life)}", cancel)


def _of_life(facts: Facts, life: Life) -> Cause | None:
    at = f"worker {life.worker} {ago(facts, life.at)} ago"
    if life.stage == "received":
        act = "it starts when a handler there is free; a lower prefetch leaves it to other workers"
        return Cause("prefetched", f"prefetched by {at}, not started", act)
    if life.stage == "suspended":
        act = "it starts when the other suspect of that worker ends"
        return Cause("suspect", f"suspect, as a worker died with it: waits at {at} for the free single place", act)
    if life.stage == "ended":
        return Cause("ended", f"its handler ended at {at}; the broker has not confirmed its settlement yet")
    if life.stage == "settled" and facts.letter is not None:
        return None  # its settlement was the move to that queue
    if life.stage == "settled" and life.moved_to:
        gone = ", and is not seen there any more" if facts.dead_letters else ""
        act = f"redrive it: tasuki redrive {life.moved_to} --id {_word(facts.id)}"
        text = f"dead, moved to {life.moved_to} by {at}" + gone + _last_attempt(facts)
        return Cause("dead", text, "tasuki audit says who took it from there" if gone else act)
    if life.stage == "settled" and life.settlement != "nack" and facts.record is None:
        text = f"settled {ago(facts, life.at)} ago by worker {life.worker} ({life.settlement})"
        return Cause("settled", text, "" if facts.is_cancelled else _AGAIN)
    return None


def _lease(facts: Facts, life: Life | None, message: RunningMessage | None = None) -> str:
    if message is not None and message.is_lost:
        return "; its lease is lost, so it may run twice"
    renewed = None if life is None else life.renewed
    return "" if renewed is None else f", lease renewed {ago(facts, renewed)} ago"


def _delayed(facts: Facts) -> Cause | None:
    message, depth, delay = facts.message, facts.depth, facts.delay
    assert message is not None
    published = message.headers.get(DUE)
    is_first = isinstance(published, int | float) and published > facts.now
    if delay == 0 or (delay is None and not is_first and (depth is None or facts.place < depth.ready)):
        return None
    sooner = f"cancel it: tasuki cancel {_word(facts.id)}"
    sleeping = [(name, until) for name, until in facts.sleeps if until > facts.now]
    if isinstance(published, int | float) and is_first:
        text = f"delayed until {text_of_time(published)}, in {_short(published - facts.now)} (as it was published)"
        return Cause("delayed", text, sooner)
    if sleeping:
        name, until = min(sleeping, key=lambda each: each[1])
        text = f"its handler sleeps or waits ({escape(name)[:100]}) until {text_of_time(until)} at the latest"
        return Cause("delayed", text, "a wait_for ends with its signal: tasuki signal EVENT KEY")
    ends, left = ("", "") if delay is None else (text_of_time(facts.now + delay), _short(delay))
    if LAST_ERROR in message.headers:
        error = escape(str(message.headers[LAST_ERROR]).partition("\n")[0])[:200] + _last_attempt(facts)
        text = f"delayed (retry): it failed, and waits for its next attempt; last: {error}"
        if ends:
            text = f"delayed (retry): it failed, and waits for its next attempt at {ends}, in {left}; last: {error}"
        return Cause("delayed", text, sooner)
    if ends:
        return Cause("delayed", f"delayed until {ends}, in {left} (its handler postponed it, or its publisher)", sooner)
    return Cause("delayed", "delayed (its handler postponed it, or its publisher); the broker does not tell until when",
                 sooner)  # fmt: skip


def _last_attempt(facts: Facts) -> str:
    if not facts.attempts:
        return ""
    last = facts.attempts[-1]
    at = f" at {escape(last.place)}" if last.place else ""
    on = f" on {escape(last.worker)}" if last.worker else ""
    return f"; attempt {last.attempt} failed {ago(facts, last.at)} ago{on}{at}"


def _of_queue(facts: Facts) -> Iterator[Cause]:
    """What holds back all messages of the queue."""
    if facts.pause is not None:
        yield Cause("paused", f"queue {facts.queue} is paused {facts.pause}", f"tasuki resume {facts.queue}")
    if not facts.consumers:
        yield Cause("no consumer", f"no consumer is declared for queue {facts.queue}", "declare one")
        return
    for each in facts.consumers:
        if each.denied:
            yield Cause("denied", each.denied, "change the policy; tasuki policy explain says why")
        if each.pause is not None:
            act = f"tasuki {'scale --reset' if each.pause.reason == 'scaled to 0' else 'resume'} {each.id}"
            yield Cause("paused", f"consumer {each.id} is paused {each.pause}", act)
    yield from _of_workers(facts)


def _of_workers(facts: Facts) -> Iterator[Cause]:
    if not facts.knows_workers:
        yield Cause("workers unknown", f"whether a worker is alive is not known: queue {facts.queue} has no state",
                    "give its driver or the queue a store (state: …)")  # fmt: skip
        return
    alive = [work for work in facts.workers if facts.now - work.seen <= late_after(work.consumer.running)]
    if not alive:
        seen = max((work.seen for work in facts.workers), default=None)
        silent = _short(TTL if seen is None else facts.now - seen)
        names = ", ".join(each.id for each in facts.consumers)
        text = f"consumer {names} is declared, and no worker of it has given a sign for {silent}"
        yield Cause("no worker", text, "start one: tasuki run")
        return
    yield from _of_limits(facts)
    places, busy = (sum(getattr(work.consumer, name) for work in alive) for name in ("concurrency", "running"))
    if busy >= places > 0:
        yield Cause("busy", f"all workers are busy: {busy} of {places} handlers run",
                    "start more workers, or tasuki scale CONSUMER N")  # fmt: skip


def _of_limits(facts: Facts) -> Iterator[Cause]:
    limit, held = facts.limit, _held(facts)
    raise_it = _raise_limit(facts)
    if limit is not None:
        text = f"limit {limit_text(limit)} of queue {facts.queue} is reached"
        if (wait := next_token(facts)) is not None:
            yield Cause("limit", f"{text}: next token in {_short(wait)}", raise_it)
        elif limit.concurrency is not None and held >= limit.concurrency:
            yield Cause("limit", f"{text}: {held} are held", raise_it)
        elif is_held_back(facts):
            yield Cause("limit", text, raise_it)


def _raise_limit(facts: Facts) -> str:
    return f"raise 'limit' of queue {facts.queue}"


def _in_line(facts: Facts) -> Iterator[Cause]:
    """The messages before it; last the limit of its lane, as the broker does not tell whether that holds it back."""
    if facts.key:
        for work in facts.workers:
            for each in work.consumer.messages:
                if each.key == facts.key:
                    text = (
                        f"key '{escape(facts.key)}' is held by message {each.id}, running on {work.worker} for "
                        f"{ago(facts, each.since)}"
                    )
                    yield Cause("key held", text, f"tasuki cancel {_word(each.id)}")
        if facts.before:
            text = f"key '{escape(facts.key)}': message {facts.before} of the same key is before it"
            yield Cause("key held", text, f"tasuki explain {_word(facts.before)}")
    if facts.place:
        rate = rate_of(facts)
        after = "" if rate is None else f", about {_short(facts.place / rate)} at the current rate"
        yield Cause("behind", f"behind {facts.place:,} other{'s' * (facts.place > 1)}{after}",
                    "start more workers, or raise concurrency")  # fmt: skip
    if facts.lane_limit:
        text = f"limit {facts.lane_limit}: the broker does not show how much of '{escape(facts.lane)}' is used"
        yield Cause("lane limit", text, _raise_limit(facts))


def _unseen(facts: Facts) -> tuple[Cause, bool | None]:
    """No worker and no page of waiting messages reports it: what its status says, and whether it is found."""
    known = facts.known
    status = None if known is None or facts.is_missing else status_of(known)
    if facts.is_missing:
        text = f"no such message: queue {facts.queue} does not exist at its broker yet"
        return Cause("no such message", text), False
    if status == "unknown":
        return _gone(facts), False
    if status in ("waiting", "delayed") and known is not None and known.where != "held":
        return _waits(facts, is_delayed=status == "delayed"), True
    lease = format_duration(facts.lease)
    if status == "waiting":
        text = (
            "a worker holds it, and does not report it: a dead one has it until its death is seen or its lease of "
            f"{lease} ends"
        )
        return Cause("held", text, "ask again after the lease"), True
    if status is not None:
        text = (
            "its handler has started, and no worker reports it: a dead one has it until its death is seen or its "
            f"lease of {lease} ends"
        )
        return Cause("held", text, "ask again after the lease"), True
    return _untold(facts)


def _waits(facts: Facts, *, is_delayed: bool) -> Cause:
    """It waits, and was not seen among those that were looked through."""
    counts, first = _counts(facts), f"{facts.searched:,}"
    if facts.searched and is_delayed:
        return Cause("delayed", f"it is delayed, behind the first {first} that wait; {counts}")
    if facts.searched:
        return Cause("waiting", f"it is waiting, behind the first {first} that wait; {counts}")
    if is_delayed:
        return Cause("delayed", f"it is delayed, as its record says; {counts}")
    return Cause("waiting", f"it is waiting, as its record says; {counts}")


def _untold(facts: Facts) -> tuple[Cause, bool | None]:
    """The same where its status is not known."""
    if not facts.can_look:
        text = (
            f"cannot look it up: driver {facts.driver} shows no waiting message without receiving it, and no worker or "
            f"record tells where it is{_last_attempt(facts)}; {_counts(facts)}"
        )
        if dead := facts.unseen_letters:
            act = f"look among its dead letters: tasuki dead {dead} --id {_word(facts.id)}"
            return Cause("cannot look", text, act), None
        return Cause("cannot look", text, "with 'result' at the queue its status is known"), None
    if facts.is_bounded:
        text = f"not found among the first {facts.searched:,} waiting messages; {_counts(facts)}"
        return Cause("too deep", text, "ask again when the queue is shorter"), None
    if count := facts.unexplained:
        text = (
            f"it does not wait; {count} of the queue are held, and no worker reports them: a dead one has it until "
            f"its death is seen or its lease of {format_duration(facts.lease)} ends"
        )
        return Cause("held", text, "ask again after the lease"), None
    return _gone(facts), False


def _gone(facts: Facts) -> Cause:
    return Cause("no such message", f"no such message in {facts.queue}: it is settled, or never was there",
                 "look in another queue with --queue, or leave it out")  # fmt: skip


def _counts(facts: Facts) -> str:
    if facts.depth is None:
        return "its counts cannot be read"
    held, delayed = ("–" if each is None else each for each in (facts.depth.in_flight, facts.depth.delayed))
    return f"{facts.depth.ready} ready, {held} held, {delayed} delayed"


def _held(facts: Facts) -> int:
    """Messages that consumers hold, as far as that is known."""
    return 0 if facts.depth is None else facts.depth.in_flight or 0
