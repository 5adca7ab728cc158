"""The same with Tasuki. Worker: tasuki run after.py."""

from __future__ import annotations

import os

from tasuki import App, Retries

app = App(os.environ.get("QUEUE_URL", "sqlite://"))
jobs = app.queue("jobs", dead_letter="jobs.dead")


@jobs.task(retry=Retries(4, on=(ConnectionError,), backoff="1s"))  # four attempts are three retries
def add(x: int, y: int) -> int:
    print(f"{x} + {y} = {x + y}")
    return x + y


if __name__ == "__main__":
    print("result:", app.sync.run(add.request(4, 4)))
    add.with_options(delay="1s").send(2, 3)
