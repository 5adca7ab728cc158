"""Huey: a task, its result, a delay and retries. Worker: python -m huey.bin.huey_consumer before.huey."""

from __future__ import annotations

import os

from huey import RedisHuey

huey = RedisHuey("before", url=os.environ.get("REDIS_URL", "redis://localhost:6379/0"))


@huey.task(retries=3, retry_delay=1)
def double(number):
    print(f"twice {number} is {2 * number}", flush=True)
    return 2 * number


if __name__ == "__main__":
    from before import double  # its message carries the name of this module

    print("result:", double(4)(blocking=True, timeout=20))
    double.schedule((5,), delay=1)
