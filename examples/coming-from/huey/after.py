"""The same with Tasuki. Worker: tasuki run after.py."""

from __future__ import annotations

import os

from tasuki import App, Retries

app = App(os.environ.get("QUEUE_URL", "sqlite://"))
jobs = app.queue("jobs", dead_letter="jobs.dead")


@jobs.task(retry=Retries(4, backoff="1s", max_delay="1s"))  # four attempts are three retries
def double(number: int) -> int:
    print(f"twice {number} is {2 * number}")
    return 2 * number


if __name__ == "__main__":
    print("result:", app.sync.run(double.request(4)))  # double(4) calls the function here
    double.with_options(delay="1s").send(5)
