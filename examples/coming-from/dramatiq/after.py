"""The same with Tasuki. Worker: tasuki run after.py."""

from __future__ import annotations

import os

from tasuki import App, Retries

app = App(os.environ.get("QUEUE_URL", "sqlite://"))
jobs = app.queue("jobs", dead_letter="jobs.dead")


@jobs.task(retry=Retries(4, backoff="1s"), handler_timeout="1m")
def greet(name: str) -> None:
    print(f"hello {name}")


if __name__ == "__main__":
    greet.send("Ada")
    greet.with_options(delay="1s").send("Grace")
