"""The same with Tasuki. Worker: tasuki run after.py."""

from __future__ import annotations

import os

from tasuki import App, Retries

app = App(os.environ.get("QUEUE_URL", "sqlite://"))
jobs = app.queue("jobs", dead_letter="jobs.dead")


@jobs.task(retry=Retries(4, backoff="1s"))
def count_words(text: str) -> int:
    print(f"{len(text.split())} words in {text!r}")
    return len(text.split())


if __name__ == "__main__":
    print("result:", app.sync.run(count_words.request("a short text")))
    count_words.with_options(delay="1s").send("two words")
