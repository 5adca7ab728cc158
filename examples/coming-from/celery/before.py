"""Celery: a task, its result, a delay and retries. Worker: celery -A before worker --pool solo."""

from __future__ import annotations

import os

from celery import Celery

URL = os.environ.get("REDIS_URL", "redis://localhost:6379/0")
app = Celery("before", broker=URL, backend=URL)


@app.task(autoretry_for=(ConnectionError,), retry_backoff=1, max_retries=3)
def add(x, y):
    print(f"{x} + {y} = {x + y}")
    return x + y


if __name__ == "__main__":
    print("result:", add.delay(4, 4).get(timeout=20))
    add.apply_async((2, 3), countdown=1)
