"""Rules: what the observed facts mean for a worker's health, row by row as in ``docs/how-to/health.md``; no I/O."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from tasuki.supervisor.spec import State, Status

Level = Literal["ok", "warning", "not_ready", "not_live"]
LEVELS: tuple[Level, ...] = ("ok", "warning", "not_ready", "not_live")
"""From well to bad. A worker that is not live is not ready either."""

WINDOW = 12.0
"""Seconds without progress after which a consumer is not live; with the time between two checks less than 15."""
SEEN = 6.0
"""Seconds for which that must have been observed: a process that was suspended finds old times, and a new answer."""
STARTING = 300.0
"""Seconds after which a process that has never answered hangs: the largest projects are imported in less."""
AWAY = 8.0
"""Seconds without an answer after which a broker counts as away."""
KEPT = 30.0
"""Seconds after which handled messages that wait for a write are worth a warning."""
FILLED = 4.0
"""Seconds after which they count as more than a moment's trouble, if they leave no place for other messages."""
REFUSED = 15.0
"""Seconds for which a publish that found the storage full counts, unless one has succeeded since."""
BLOCKED = 4.5
"""Seconds after which a blocked event loop, or a thread that renews no leases, is not live; with the check within 5."""


class Finding(NamedTuple):
    """The level of one thing, and why; an ``ok`` may have a text too."""

    level: Level = "ok"
    text: str = ""


OK = Finding()


class Kept(NamedTuple):
    """Handled messages whose result, dead letter or reply cannot be written yet."""

    messages: int = 0
    seconds: float = 0.0
    """Since when, of the oldest."""
    why: str = ""
    is_all: bool = False
    """They leave no place for other messages."""


NONE_KEPT = Kept()


@dataclass(frozen=True, slots=True)
class Answer:
    """What the broker has said of a queue. Monotonic times."""

    asked_at: float
    answered_at: float
    ready: bool = False
    """Whether a message was there that this consumer could have received."""
    error: str = ""
    """Why the queue cannot be counted; empty: it was."""
    is_away: bool = False
    """It is the driver that answers: it knows that its broker is unavailable."""


@dataclass(frozen=True, slots=True)
class ConsumerFacts:
    """One consumer at one time."""

    delivered: int = 0
    """Deliveries since the start."""
    settled: int = 0
    """Deliveries that are no longer held."""
    unsettled: int = 0
    """Deliveries whose handlers have ended, and whose settlement the broker has not taken yet."""
    free: int = 0
    """Messages that it could take now; 0: it consumes nothing, or all its workers are busy."""
    problem: str = ""
    """Why it cannot consume, as far as that is known: its broker is unavailable, it has failed. Empty: no reason."""
    is_unanswered: bool = False
    """The problem is only that the broker has not answered the last receive."""
    paused: str = ""
    """Until when, and why; empty: it is not."""
    answer: Answer | None = None
    """The broker's last one; None: there is none yet, or it is not asked."""
    asked_since: float | None = None
    """Since when the broker owes an answer; None: it owes none."""
    late_leases: float = 0.0
    """Seconds by which the renewal of its leases is late."""
    kept: Kept = NONE_KEPT
    unreadable: str = ""
    """Why it cannot read which messages are cancelled, which it must before each start; empty: it can."""
    long_run: str = ""
    """The handler that has run for far longer than others, and its message; empty: there is none."""


@dataclass(slots=True)
class ConsumerRule:
    """Judges a series of observations of one consumer."""

    broker_red_after: float | None = None
    """Seconds after which an unavailable broker makes it not live; None: never."""
    _last: ConsumerFacts | None = None
    _received_at: float = 0.0
    """When all was well last: a message came, none was ready, or no worker was free."""
    _stuck_since: float | None = None
    _settled_at: float = 0.0
    _left_since: float | None = None
    _heard_at: float = 0.0
    """When the broker gave a sign of life last."""
    _moved_at: float = float("-inf")
    """When a message came or was settled last: an earlier report of an absence is void."""
    _away_since: float | None = None
    received_ago: float = 0.0
    """Seconds, at the last observation, for which ready messages have not been received."""
    _looked_at: float = 0.0
    _watched_since: float = 0.0
    """Since when it has been observed without a gap."""

    def judge(self, now: float, facts: ConsumerFacts) -> Finding:
        """The finding at this time (monotonic)."""
        self._note(now, facts)
        finding = self._finding(now, facts)
        self._last = facts
        return finding

    def forget(self, now: float) -> None:
        """Nothing could be observed until now: the event loop was blocked, or the process suspended."""
        self._received_at = self._settled_at = self._heard_at = self._watched_since = now
        self._stuck_since = self._left_since = None

    def _note(self, now: float, facts: ConsumerFacts) -> None:
        last, answer = self._last, facts.answer
        was_gone, self._looked_at = now - self._looked_at > SEEN, now
        if last is None or was_gone:
            self.forget(now)
            return
        moved = facts.delivered != last.delivered
        settled = facts.settled != last.settled
        if moved or settled:
            self._heard_at = self._moved_at = now
        if answer is not None:
            self._heard_at = max(self._heard_at, answer.answered_at)
        if moved or not facts.free:
            self._received_at, self._stuck_since = now, None
        elif answer is not None and not answer.ready:
            self._received_at, self._stuck_since = max(self._received_at, answer.asked_at), None
        elif answer is not None and self._stuck_since is None and answer.asked_at >= self._received_at:
            self._stuck_since = now
        if settled or not facts.unsettled or facts.problem:
            self._settled_at, self._left_since = now, None
        elif self._left_since is None:
            self._left_since = now
        self.received_ago = now - self._received_at

    def _finding(self, now: float, facts: ConsumerFacts) -> Finding:
        if facts.asked_since is None or (facts.problem and not facts.is_unanswered):
            silence = asked_for = 0.0
        else:
            silence, asked_for = now - self._heard_at, now - max(facts.asked_since, self._watched_since)
        if silence >= WINDOW and asked_for >= SEEN:
            return Finding("not_live", f"the broker has not answered for {silence:.0f} s")
        if _is_over(now, self._received_at, self._stuck_since):
            ago = f"{self.received_ago:.0f} s"
            return Finding("not_live", f"messages are ready, {facts.free} free places, nothing received for {ago}")
        if _is_over(now, self._settled_at, self._left_since):
            return Finding("not_live", f"{facts.unsettled} handled messages are not settled")
        was_late = self._last is not None and self._last.late_leases > 0  # else the process may have been suspended
        if facts.late_leases >= BLOCKED and was_late and not facts.problem and not silence:
            return Finding("not_live", f"leases of its messages are not renewed, {facts.late_leases:.0f} s late")
        if problem := facts.problem or self._absence(facts.answer):
            return self._away(now, problem)
        self._away_since = None
        if silence >= AWAY and asked_for >= SEEN:
            return Finding("not_ready", f"the broker has not answered for {silence:.0f} s")
        return _of_answering(facts)

    def _absence(self, answer: Answer | None) -> str:
        is_new = answer is not None and answer.answered_at > self._moved_at
        return answer.error if answer is not None and answer.is_away and is_new else ""

    def _away(self, now: float, problem: str) -> Finding:
        self._away_since = now if self._away_since is None else self._away_since
        away = now - self._away_since
        if self.broker_red_after is not None and away >= self.broker_red_after:
            return Finding("not_live", f"{problem}; for {away:.0f} s now")
        return Finding("not_ready", problem)


def _of_answering(facts: ConsumerFacts) -> Finding:
    """Of a consumer whose broker answers."""
    if (finding := _of_kept(facts.kept)) is not OK:
        return finding
    if facts.unreadable:
        return Finding("not_ready", f"it starts nothing, as cancelled messages cannot be read: {facts.unreadable}")
    if facts.answer is not None and facts.answer.error:
        return Finding("warning", f"its queue cannot be counted: {facts.answer.error}")
    if facts.long_run:
        return Finding("warning", facts.long_run)
    return Finding("ok", f"paused {facts.paused}") if facts.paused else OK


def _of_kept(kept: Kept) -> Finding:
    text = f"{kept.messages} handled messages are kept, the oldest for {kept.seconds:.0f} s: {kept.why}"
    if kept.is_all and kept.seconds >= FILLED:
        return Finding("not_ready", f"{text}; they leave no place for others")
    return Finding("warning", text) if kept.seconds >= KEPT else OK


def _is_over(now: float, well_at: float, seen_at: float | None) -> bool:
    return seen_at is not None and now - well_at >= WINDOW and now - seen_at >= SEEN


@dataclass(frozen=True, slots=True)
class ProcessFacts:
    """What concerns a worker process as a whole, at one time."""

    phase: Literal["closed", "starting", "running", "stopping"] = "running"
    running: int = 0
    """Handlers that run."""
    blocked_for: float = 0.0
    """Seconds for which the event loop has been blocked; 0: it is not."""
    blocked_by: str = ""
    """The handler and message that block it."""
    keeper_silent_for: float = 0.0
    """Seconds for which the thread that renews leases has not answered; 0: it has, or is not needed."""
    services: Mapping[str, Status] = field(default_factory=dict)
    """The drivers, by id."""
    refusals: Mapping[str, str] = field(default_factory=dict)
    """Why the broker of a driver takes no messages now."""
    threads: Mapping[str, str] = field(default_factory=dict)
    """The helper threads that have failed, and why."""


def findings_of(facts: ProcessFacts) -> Iterator[tuple[str, Finding]]:
    """The findings about a process, by the name of the check."""
    yield "worker", _phase(facts)
    yield "loop", _loop(facts)
    if facts.keeper_silent_for >= BLOCKED:
        yield "leases", Finding("not_live", f"no leases are renewed for {facts.keeper_silent_for:.0f} s")
    for id, status in facts.services.items():
        yield f"driver {id}", _driver(status, facts.refusals.get(id, ""))
    for name, problem in facts.threads.items():
        yield f"thread {name}", Finding("not_ready", problem)


def _phase(facts: ProcessFacts) -> Finding:
    if facts.phase == "closed":
        return Finding("not_ready", "the app is not open")
    if facts.phase == "starting":
        return Finding("not_ready", "starting")
    if facts.phase == "stopping":
        return Finding("not_ready", f"stopping, {facts.running} running")
    return OK


def _loop(facts: ProcessFacts) -> Finding:
    if not facts.blocked_for:
        return OK
    text = f"the event loop has been blocked for {facts.blocked_for:.0f} s{facts.blocked_by}"
    return Finding("not_live" if facts.blocked_for >= BLOCKED else "warning", text)


def _driver(status: Status, refusal: str) -> Finding:
    if problem := problem_of(status):
        return Finding("not_ready", problem)
    return Finding("not_ready", f"the broker takes no messages: {refusal}") if refusal else OK


def problem_of(status: Status | None) -> str:
    """Why a service does not run; empty if it runs, or does not start by itself."""
    if status is None or status.state in (State.RUNNING, State.UNKNOWN):
        return ""
    if status.error is None:
        return status.state.value
    if status.has_given_up:
        return f"it has given up: {status.error}"
    return (
        f"it has failed, attempt {status.failures}: {status.error}"
        if status.failures
        else f"it has failed: {status.error}"
    )


@dataclass(frozen=True, slots=True)
class ChildFacts:
    """One of several worker processes, as its parent sees it; seconds."""

    down_for: float = 0.0
    """For which it has not run; 0: it runs."""
    silent_for: float = 0.0
    """For which it has not said how it is; 0: it has."""
    starting_for: float = 0.0
    """For which it has not said how it is for the first time, as it imports and checks its project; 0: it has."""
    level: Level = "ok"
    """How it says it is."""
    texts: Sequence[str] = ()


def findings_of_children(children: Mapping[int, ChildFacts]) -> Iterator[tuple[str, Finding]]:
    """The findings about the processes, and about their number.

    Some processes that are not ready leave the others to work; the whole is not ready while fewer than half are.
    """
    ready = 0
    for number, child in children.items():
        finding = _child(child)
        ready += LEVELS.index(finding.level) < LEVELS.index("not_ready")
        if finding.level == "not_ready":
            finding = Finding("warning", finding.text)
        yield f"process {number}", finding
    if ready * 2 < len(children) or (not ready and children):
        yield "processes", Finding("not_ready", f"{ready} of {len(children)} processes are ready")


def _child(child: ChildFacts) -> Finding:
    if child.down_for:
        level: Level = "not_live" if child.down_for >= WINDOW else "not_ready"
        return Finding(level, f"it has not run for {child.down_for:.0f} s")
    if child.silent_for:
        level = "not_live" if child.silent_for >= WINDOW else "not_ready"
        return Finding(level, f"no sign of life for {child.silent_for:.0f} s")
    if child.starting_for >= STARTING:
        return Finding("not_live", f"it has not answered since it started {child.starting_for:.0f} s ago")
    return Finding("not_ready", "starting") if child.starting_for else Finding(child.level, "; ".join(child.texts))
