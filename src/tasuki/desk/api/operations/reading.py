"""Operations that read an installation: queues, workers, schedules, acts, health; find and the topology."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from tasuki.desk.acts.auditing import last_acts
from tasuki.desk.api import answers
from tasuki.desk.api.call import ApiCall
from tasuki.desk.api.decoding import cursor_of, page_of, read_number
from tasuki.desk.api.operations.messages import item_of_message, keyless, running_item, running_of
from tasuki.desk.api.problems import ProblemError
from tasuki.desk.presentation import numbers
from tasuki.desk.presentation.words import say
from tasuki.desk.reading import attention
from tasuki.desk.reading.records import events_by_consumer, schedules_of
from tasuki.desk.reading.rows import settings_of
from tasuki.desk.reading.search import SearchQuestion
from tasuki.desk.site import AwayError
from tasuki.desk.topology import QueueLine, lines_of
from tasuki.kinds.entries.schedule import ScheduleConfig
from tasuki.observe.history import MINUTES
from tasuki.state.worker_record import Presence, PresentConsumer

_MOST_NOTICES = 100


async def overview(call: ApiCall) -> answers.Overview:
    """Whether messages move, and what needs attention."""
    snapshot = await call.snapshot()
    notices = attention.notices_of(snapshot)
    return answers.Overview(
        now=snapshot.now,
        totals=snapshot.totals,
        queues=len(snapshot.queues),
        notices=[_notice(each) for each in notices[:_MOST_NOTICES]],
        problems=list(snapshot.problems),
        age=snapshot.age,
    )


def _notice(notice: attention.AttentionNotice) -> answers.NoticeItem:
    told: dict[str, Any] = dict(notice.values)
    for name in ("age", "limit"):
        if name in told:
            told[name] = numbers.duration(told[name])
    if "rate" in told:
        told["rate"] = numbers.rate(told["rate"])
    return answers.NoticeItem(notice.key.removeprefix("attention."), say("en", notice.key, told), notice.values)


async def queues(call: ApiCall) -> answers.Queues:
    """All queues, by id."""
    snapshot, word = await call.snapshot(), call.query.q.lower()
    rows = {id: row for id, row in snapshot.queues.items() if word in id.lower()}
    shown, following = page_of(rows, call.query.cursor, call.query.limit)
    return answers.Queues([answers.QueueItem.of(row) for row in shown], following, len(rows))


async def queue(call: ApiCall) -> answers.QueueAnswer:
    """One queue: counts, consumers, what runs, what its driver can do."""
    _, row = await call.row()
    live = call.site.live.queues[row.id]
    schedules = [id for id, config in call.site.project.of(ScheduleConfig).items() if config.queue == row.id]
    unknown = {} if row.knows_workers else dict.fromkeys(("processes", "concurrency", "running", "done", "failed"))
    consumers = [answers.ConsumerItem.of(each, **unknown) for each in row.consumers]
    return answers.QueueAnswer(
        queue=answers.QueueItem.of(row),
        consumers=consumers,
        running=running_of(row.handlers, shows_keys=call.may("peek", row.id)),
        schedules=schedules,
        capabilities=msgspec.to_builtins(live.driver.capabilities),
        settings={key.removeprefix("settings."): value for key, value in settings_of(call.site, live, row.id)},
    )


async def history(call: ApiCall) -> answers.HistoryAnswer:
    """The last 60 minutes of a queue that all processes have written."""
    snapshot, row = await call.row()
    past, facts = row.past, (row.knows_past, snapshot.minute_ends)
    if past is None:
        return answers.HistoryAnswer([], *facts)
    spans = (past.hour.span(minute, minute) for minute in range(past.newest - MINUTES + 1, past.newest + 1))
    return answers.HistoryAnswer(
        [
            answers.MinuteItem(
                span.at, span.published, span.done, span.failed, span.dead, span.ready, *span.wait, *span.run
            )
            for span in spans
        ],
        *facts,
    )


async def workers(call: ApiCall) -> answers.Workers:
    """The worker processes on all machines."""
    snapshot = await call.snapshot()
    known = {each.key: each for each in snapshot.workers}
    shown, following = page_of(known, call.query.cursor, call.query.limit)
    items = [_worker(call, each, snapshot.now) for each in shown]
    lost = [answers.Lost(each.name, each.seen) for each in snapshot.lost]
    return answers.Workers(items, following, len(known), snapshot.now, lost)


async def worker(call: ApiCall) -> answers.Worker:
    """One worker process."""
    return _worker(call, await _named(call), (await call.snapshot()).now)


def _worker(call: ApiCall, worker: Presence, now: float) -> answers.Worker:
    ids = call.site.ids

    def shown(consumer: PresentConsumer) -> PresentConsumer:
        if not consumer.messages or call.may("peek", ids.get((consumer.driver, consumer.queue), "")):
            return consumer
        return msgspec.structs.replace(consumer, messages=[keyless(each) for each in consumer.messages])

    consumers = [shown(each) for each in worker.consumers]
    return answers.Worker.of(worker, id=worker.name, consumers=consumers, condition=worker.condition(now))


async def _named(call: ApiCall) -> Presence:
    id = call.names["worker"]
    found = [each for each in (await call.snapshot()).workers if f"{each.host}:{each.pid}" == id]
    if not found:
        raise ProblemError(404, f"no worker {id!r} is alive")
    return max(found, key=lambda each: each.started)


def _queues_of(call: ApiCall, worker: Presence) -> Sequence[str]:
    """The ids of the queues that a worker consumes; for one that the project does not have, its name at the broker."""
    known = call.site.ids
    return sorted({known.get((each.driver, each.queue), each.queue) for each in worker.consumers})


async def events(call: ApiCall) -> answers.Events:
    """The latest events of the messages of a worker; it has two seconds to answer."""
    worker = await _named(call)
    for queue in _queues_of(call, worker):  # events tell ids of messages, and their errors
        call.require("peek", queue)
    found = await events_by_consumer(call.site, worker, call.query.newest)
    if not found and worker.consumers:
        raise ProblemError(503, f"worker {call.names['worker']} does not answer: its event loop may be blocked")
    return msgspec.convert({"worker": call.names["worker"], "consumers": found}, answers.Events)


async def schedules(call: ApiCall) -> answers.Schedules:
    """The schedules, with their last and next times."""
    site = call.site
    found, problems = await schedules_of(site)
    if problems and not found:  # else an unavailable store would look like a project without schedules
        raise AwayError(problems[0])
    shown, following = page_of(found, call.query.cursor, call.query.limit)
    items = [
        answers.ScheduleItem.of(
            each,
            next=None if each.next is None else each.next.timestamp(),
            last=None if each.last is None else each.last.timestamp(),
            paused=each.pause,
        )
        for each in shown
    ]
    unseen = sorted(site.project.of(ScheduleConfig).keys() - found.keys())
    return answers.Schedules(items, following, len(found), unseen)


async def audit(call: ApiCall) -> answers.AuditAnswer:
    """The last 1,000 acts of people and programs on entries whose acts the actor may see, for 30 days; newest first."""
    found, _ = await last_acts(call.site, call.tools.acts.rights(), call.session.actor, call.query.q)
    start = read_number(call.query.cursor)
    end = start + call.query.limit
    return answers.AuditAnswer(list(found[start:end]), cursor_of(str(end)) if end < len(found) else None, len(found))


async def health(call: ApiCall) -> answers.HealthAnswer:
    """Whether messages move in this process; not ready is 503, with the same document."""
    report = call.tools.watched.report()
    checks = [answers.HealthCheck(*check) for check in report.checks]
    return answers.HealthAnswer(report.status, report.is_live, report.is_ready, report.time, checks)


async def find(call: ApiCall) -> answers.FindAnswer:
    """Messages by their id, a header or a value of the body, in all queues that the actor may look into."""
    snapshot = await call.snapshot()
    question = SearchQuestion(call.query.q.strip())
    search = await call.tools.finder.find(question, snapshot, lambda id: call.may("peek", id))
    queues = call.site.live.queues
    found = [running_item(id, each) for id, row in search.running for each in running_of([row])]
    found += [
        item_of_message(queues[each.queue], snapshot.queues[each.queue], each.message, each.place)
        for each in search.hits
    ]
    return answers.FindAnswer(found, search.searched, search.is_over, list(search.cut), dict(search.unseen))


async def topology(call: ApiCall) -> answers.TopologyAnswer:
    """Which schedules, consumers, functions and dead-letter queues belong to each queue, and how much passes."""
    snapshot, word = await call.snapshot(), call.query.q.lower()
    lines = [line for line in lines_of(call.site.project, snapshot) if any(word in id.lower() for id in line.names)]
    start = read_number(call.query.cursor)
    end = start + call.query.limit
    following = cursor_of(str(end)) if end < len(lines) else None
    return answers.TopologyAnswer([_line(line) for line in lines[start:end]], following, len(lines))


def _line(line: QueueLine) -> answers.TopologyItem:
    consumers = {id: list(line.functions.get(id, ())) for id in line.consumers}
    return answers.TopologyItem.of(
        line.row, queue=line.row.id, dead_rate=line.dead_rate, schedules=list(line.schedules), consumers=consumers
    )
