"""Tools that read an installation, through the operations of the API. Their docstrings are what a model reads."""

from __future__ import annotations

from typing import Literal

import msgspec

from tasuki.desk.api import answers, asked
from tasuki.desk.api.operations import batching, letters, messages, reading, searching
from tasuki.desk.reading.attention import is_failed, notices_of
from tasuki.desk.reading.snapshot import Snapshot
from tasuki.kinds.entries.queue import QueueConfig
from tasuki.mcp import arguments
from tasuki.mcp.marking import own
from tasuki.mcp.source import Source


class Broker(answers.Answer, frozen=True):
    """One driver entry."""

    driver: str
    kind: str
    queues: int
    unread: list[str]
    """Queues that could not be read."""
    problem: str


class Health(answers.Answer, frozen=True):
    """Whether messages move, in the whole installation."""

    status: Literal["ok", "warning", "failed"]
    brokers: list[Broker]
    workers: int | None
    notices: list[answers.Notice]
    problems: list[str]


own(Broker, "driver kind unread problem")
own(Health, "status problems")


async def overview(source: Source, _: arguments.Arguments) -> answers.Overview:
    """Whether messages move: sums over all queues, and what needs attention, the worst first. Begin here."""
    return await reading.overview(source.call({}))


async def list_queues(source: Source, given: arguments.Queues) -> answers.Queues:
    """All queues with their counts, rates, ages, workers and problems, by id."""
    return await reading.queues(source.call({}, asked.QueuesQuery(given.limit, given.cursor, given.q)))


async def queue(source: Source, given: arguments.OneQueue) -> answers.Queue:
    """One queue: counts, consumers, running handlers, schedules, settings, and what its driver can do."""
    return await reading.queue(source.call({"queue": given.queue}))


async def list_messages(source: Source, given: arguments.Messages) -> answers.Messages:
    """The messages of one queue that wait, are delayed, failed before and wait for a retry, or run."""
    query = asked.MessagesQuery(given.limit, given.cursor, given.state)
    return await messages.messages(source.call({"queue": given.queue}, query))


async def find_messages(source: Source, given: arguments.Question) -> answers.Found:
    """Search the waiting and running messages of all queues by id, header or value of the body."""
    return await searching.find(source.call({}, asked.FindQuery(given.q)))


async def message(source: Source, given: arguments.OneMessage) -> answers.Message:
    """One message: its state, why it is there, body, headers, last error and traceback. Secrets are masked."""
    query = asked.MessageQuery(given.place)
    found = await messages.message(source.call({"queue": given.queue, "id": given.id}, query))
    if found.body is None:
        return found
    body = msgspec.structs.replace(found.body, value=None)  # its text says the same
    return msgspec.structs.replace(found, body=body)


async def explain(source: Source, given: arguments.Explained) -> answers.Explained:
    """Why a message does not run now: the causes, the first one that holds first, and what changes each."""
    return await messages.explain(source.call({"queue": given.queue, "id": given.id}))


async def dead_groups(source: Source, given: arguments.Groups) -> answers.Groups:
    """Dead letters in groups of one cause, the largest first, each with a sample and ids."""
    return await letters.groups(source.call({}, asked.GroupsQuery(given.queue, given.by, given.where)))


async def dead_letters(source: Source, given: arguments.Letters) -> answers.Letters:
    """The letters of one dead-letter queue, or of one group in it, the newest death first."""
    query = asked.LettersQuery(given.limit, given.cursor, given.where, given.by, given.group)
    return await letters.letters(source.call({"queue": given.queue}, query))


async def batches(source: Source, given: arguments.Batches) -> answers.Batches:
    """The last acts on many dead letters, and how far each is."""
    if given.id:
        return answers.Batches([await batching.batch(source.call({"batch": given.id}))])
    snapshot = await source.sampler.latest()
    if all(row.is_missing for row in snapshot.queues.values() if row.is_dead_letters):
        return answers.Batches([])  # looking would make the store of a project that has none yet
    return await batching.batches(source.call({}))


async def workers(source: Source, given: arguments.Page) -> answers.Workers:
    """The worker processes on all machines: their consumers and what they run."""
    return await reading.workers(source.call({}, asked.PageQuery(given.limit, given.cursor)))


async def schedules(source: Source, given: arguments.Page) -> answers.Schedules:
    """The schedules with their next and last times, and whether one is late or paused."""
    return await reading.schedules(source.call({}, asked.PageQuery(given.limit, given.cursor)))


async def health(source: Source, _: arguments.Arguments) -> Health:
    """Which brokers and queues can be reached, how many workers are alive, and all problems."""
    snapshot = await source.sampler.latest(now=True)
    notices = (await reading.overview(source.call({}))).notices
    problems = list(snapshot.problems)
    return Health(
        status="failed" if problems or is_failed(notices_of(snapshot)) else "warning" if notices else "ok",
        brokers=_brokers(source, snapshot),
        workers=snapshot.totals.workers if snapshot.knows_workers else None,
        notices=notices,
        problems=problems,
    )


def _brokers(source: Source, snapshot: Snapshot) -> list[Broker]:
    project = source.site.project
    configs = project.of(QueueConfig)
    found = []
    for driver in sorted({config.driver for config in configs.values()}):
        rows = [row for row in snapshot.queues.values() if configs[row.id].driver == driver]
        bad = [row for row in rows if row.problem]
        kind = project.kinds[driver].name
        found.append(Broker(driver, kind, len(rows), [row.id for row in bad], bad[0].problem if bad else ""))
    return found
