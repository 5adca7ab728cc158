"""RQ. Default: a process for each job; best: SimpleWorker, which has none."""

from __future__ import annotations

import time
from collections.abc import Sequence

from redis import Redis
from rq import Queue

from tests.compare.role import IS_BEST, QUEUE, URL, Body, Peer, handle, main, plainly

NAME = "tests.compare.peers.rq.job"


def job(body: Body) -> None:
    if handle(body):
        time.sleep(60)


def worker() -> list[str]:
    simple = ["--worker-class", "rq.SimpleWorker"] if IS_BEST else []
    return ["rq", "worker", QUEUE, "--url", URL, "--quiet", *simple]


if __name__ == "__main__":
    queue = Queue(QUEUE, connection=Redis.from_url(URL))

    def many(bodies: Sequence[Body]) -> None:
        queue.enqueue_many([Queue.prepare_data(NAME, (body,)) for body in bodies])

    main(Peer(worker, plainly(lambda body: queue.enqueue(NAME, body), many)))
