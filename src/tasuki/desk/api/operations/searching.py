"""Operations that look over the whole installation: find, and the topology."""

from __future__ import annotations

from tasuki.desk.api import answers
from tasuki.desk.api.call import Call
from tasuki.desk.api.decoding import cursor_of, read_number
from tasuki.desk.api.operations.messages import item_of_message, running_item
from tasuki.desk.api.operations.reading import running_of
from tasuki.desk.reading.listed.question import Question
from tasuki.desk.topology.lines import Line, topology_of


async def find(call: Call) -> answers.Found:
    """Messages by their id, a header or a value of the body, in all queues that the actor may look into."""
    snapshot = await call.snapshot()
    question = Question(call.query.q.strip())
    search = await call.tools.finder.find(question, snapshot, lambda id: call.may("peek", id))
    queues = call.site.live.queues
    hits = [
        answers.Hit(
            each.queue, item_of_message(queues[each.queue], snapshot.queues[each.queue], each.message, each.place)
        )
        for each in search.hits
    ]
    running = [answers.Hit(id, running_item(id, each)) for id, row in search.running for each in running_of([row])]
    return answers.Found([*running, *hits], search.searched, search.is_over, list(search.cut), dict(search.unseen))


async def topology(call: Call) -> answers.Topology:
    """Which schedules, consumers, functions and dead-letter queues belong to each queue, and how much passes."""
    snapshot, word = await call.snapshot(), call.query.q.lower()
    lines = [
        line for line in topology_of(call.site.project, snapshot).lines if any(word in id.lower() for id in line.names)
    ]
    start = read_number(call.query.cursor)
    end = start + call.query.limit
    following = cursor_of(str(end)) if end < len(lines) else None
    return answers.Topology([_line(line) for line in lines[start:end]], following, len(lines))


def _line(line: Line) -> answers.Line:
    consumers = {id: list(line.functions.get(id, ())) for id in line.consumers}
    return answers.Line.of(
        line.row, queue=line.row.id, dead_rate=line.dead_rate, schedules=list(line.schedules), consumers=consumers
    )
