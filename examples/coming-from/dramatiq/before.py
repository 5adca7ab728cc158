"""Dramatiq: an actor, a delay and retries; no results. Worker: dramatiq before --processes 1 --threads 1."""

from __future__ import annotations

import os

import dramatiq
from dramatiq.brokers.redis import RedisBroker

dramatiq.set_broker(RedisBroker(url=os.environ.get("REDIS_URL", "redis://localhost:6379/0")))


@dramatiq.actor(max_retries=3, min_backoff=1000, time_limit=60_000)
def greet(name):
    print(f"hello {name}", flush=True)


if __name__ == "__main__":
    greet.send("Ada")
    greet.send_with_options(args=("Grace",), delay=1000)
