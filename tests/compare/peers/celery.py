"""Celery. Acks late, so that a killed worker loses nothing; best: a pool of threads, a prefetch of 100."""

from __future__ import annotations

import time

from celery import Celery

from tests.compare.role import IS_BEST, QUEUE, URL, Body, Peer, handle, main, plainly

app = Celery("compare", broker=URL.replace("amqp://", "pyamqp://"))
app.conf.task_default_queue = QUEUE
app.conf.task_acks_late = app.conf.task_reject_on_worker_lost = True
app.conf.task_ignore_result = True
app.conf.broker_transport_options = {"confirm_publish": True} if "amqp" in URL else {}
app.conf.worker_prefetch_multiplier = 100 if IS_BEST else 4


@app.task(name="job")
def job(body: Body) -> None:
    if handle(body):
        time.sleep(60)


def worker() -> list[str]:
    pool = ["--pool", "solo"] if IS_BEST else []
    return ["celery", "-A", "tests.compare.peers.celery", "worker", "--loglevel", "ERROR", *pool]


if __name__ == "__main__":
    main(Peer(worker, plainly(job.delay)))
