"""huey. It removes a task before it runs it: a killed worker loses it. SQLite with ``fsync``; best: a poll each ms."""

from __future__ import annotations

import time

from huey import RedisHuey, SqliteHuey

from tests.compare.role import BROKER, IS_BEST, QUEUE, URL, Body, Peer, handle, main, plainly

if BROKER == "sqlite":
    huey = SqliteHuey(QUEUE, filename=URL, fsync=True, results=False)
else:
    huey = RedisHuey(QUEUE, url=URL, results=False)


@huey.task(name="job")
def job(body: Body) -> None:
    if handle(body):
        time.sleep(60)


def worker() -> list[str]:
    best = ["--workers", "4", "--delay", "0.001", "--backoff", "1"] if IS_BEST else []
    return ["huey_consumer", "tests.compare.peers.huey.huey", "--quiet", *best]


if __name__ == "__main__":
    from tests.compare.peers import huey as module  # noqa: PLW0406 - a task has the name of its module

    main(Peer(worker, plainly(module.job)))
