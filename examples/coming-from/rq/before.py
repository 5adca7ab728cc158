"""RQ: any function, its result, a delay and retries. Worker: rq worker --with-scheduler --url $REDIS_URL."""

from __future__ import annotations

import os
import time
from datetime import timedelta

from redis import Redis
from rq import Queue, Retry

URL = os.environ.get("REDIS_URL", "redis://localhost:6379/0")


def count_words(text):
    print(f"{len(text.split())} words in {text!r}")
    return len(text.split())


if __name__ == "__main__":
    from before import count_words  # the worker must find it under the name of its module

    queue = Queue(connection=Redis.from_url(URL))
    job = queue.enqueue(count_words, "a short text", retry=Retry(max=3, interval=1))
    while job.return_value(refresh=True) is None:
        time.sleep(0.1)
    print("result:", job.return_value())
    queue.enqueue_in(timedelta(seconds=1), count_words, "two words")
