"""dramatiq. Best: one process of 32 threads; without: as many processes as cores, eight threads each."""

from __future__ import annotations

import time

import dramatiq
from dramatiq.broker import Broker

from tests.compare.role import BROKER, IS_BEST, QUEUE, URL, Body, Peer, handle, main, plainly


def _broker() -> Broker:
    if BROKER == "amqp":
        from dramatiq.brokers.rabbitmq import RabbitmqBroker

        return RabbitmqBroker(url=URL, confirm_delivery=True)
    from dramatiq.brokers.redis import RedisBroker

    return RedisBroker(url=URL)


dramatiq.set_broker(_broker())


@dramatiq.actor(queue_name=QUEUE, actor_name="job", max_retries=0)
def job(body: Body) -> None:
    if handle(body):
        time.sleep(60)


def worker() -> list[str]:
    best = ["--processes", "1", "--threads", "32"] if IS_BEST else []
    return ["dramatiq", "tests.compare.peers.dramatiq", *best]


if __name__ == "__main__":
    main(Peer(worker, plainly(job.send)))
