"""mayu, whose worker is Rust. Best: one process, a prefetch of 16 for each of its threads."""

from __future__ import annotations

import time

from mayu import App

from tests.compare.role import IS_BEST, QUEUE, URL, Body, Peer, handle, main, plainly

app = App(broker=URL, default_queue=QUEUE)


@app.task(name="job")
def job(body: Body) -> None:
    if handle(body):
        time.sleep(60)


def worker() -> list[str]:
    best = ["--mode", "thread", "--threads", "4", "--prefetch-multiplier", "100"] if IS_BEST else []
    return ["mayu", "worker", "tests.compare.peers.mayu:app", "--log-level", "ERROR", *best]


if __name__ == "__main__":
    main(Peer(worker, plainly(job.delay)))
