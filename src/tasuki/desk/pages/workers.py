"""The pages of the workers: all of them, with those that have gone, and one."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.responses import Response

from tasuki.desk.pages.lists import PAGE
from tasuki.desk.pages.view import View
from tasuki.desk.reading.bodies import lines as text_of
from tasuki.desk.reading.observed.gone import gone_of, queue_in
from tasuki.desk.reading.observed.recorded import NEWEST, Lines, events_of, stacks_in
from tasuki.desk.reading.tracebacks import folded
from tasuki.desk.site import AwayError, problem_of
from tasuki.errors import DriverError
from tasuki.state.worker_record import PRESENCE

_MOST_PLACE = 1_000_000
_MOST_GONE = 50
_MOST_EVENTS = 200
_READERS = {"events": events_of, "stacks": stacks_in}
"""What a worker is asked for, by the tab."""


async def workers(view: View) -> Response:
    """The worker processes on all machines, and what they run."""
    snapshot = await view.tools.sampler.latest()
    start = view.number_of("from", _MOST_PLACE)
    shown: Sequence[object] = snapshot.workers[start : start + PAGE]
    past, ids = view.tools.sampler.past, view.tools.site.ids
    return view.page(
        "workers.html",
        snapshot=snapshot,
        rows=shown,
        gone=gone_of(past.processes, snapshot.workers, snapshot.now, snapshot.lost)[:_MOST_GONE],
        lost_at={each.key: queue for each in snapshot.lost if (queue := queue_in(each, ids))},
        queue_ids=ids,
        count=len(snapshot.workers),
        start=start,
        page_size=PAGE,
    )


async def worker(view: View) -> Response:
    """One worker: its consumers, what runs now, and its latest events."""
    snapshot, key = await view.tools.sampler.latest(), PRESENCE + view.path[1]
    found = next((each for each in snapshot.workers if each.key == key), None)
    if found is None:
        return view.page("error.html", status=404, snapshot=snapshot, text=view.say("worker.gone"))
    ids = view.tools.site.ids
    tab = view.query.get("tab", "")
    is_asked = tab in _READERS
    # Events tell ids of messages, so they are for those who may see the messages.
    seen = [each for each in found.consumers if view.may("peek", ids.get((each.driver, each.queue), ""))]
    lines, silent, problem = Lines(), list[str](), ""
    if is_asked and len(seen) < len(found.consumers):
        problem = view.say("queue.no_right", right="queue.admin.peek")
    elif is_asked:
        try:
            lines, silent = await _READERS[tab](view.tools.site, found)
        except (DriverError, AwayError) as error:
            problem = problem_of(error)
    rows = {row.id: row for queue in snapshot.queues.values() for row in queue.consumers}
    return view.page(
        "worker.html",
        snapshot=snapshot,
        worker=found,
        queue_ids=ids,
        consumer_queues={each.id: ids.get((each.driver, each.queue), "") for each in found.consumers},
        consumers=rows,
        is_asked=is_asked,
        stacks=[(consumer, event, folded(text_of(str(event["value"])))) for consumer, event in lines[:_MOST_EVENTS]]
        if tab == "stacks"
        else None,
        lines=lines[:_MOST_EVENTS],
        silent=silent,
        problem=problem,
        newest=NEWEST,
    )
