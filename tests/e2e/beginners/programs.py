"""Mistakes in a program that is started with ``python``."""

from __future__ import annotations

from tests.e2e.beginners.mistake import JOBS, TASK, Mistake, program

TWO_LOOPS = """
import asyncio

async def first():
    await app.open()
    await jobs.publish({})

async def second():
    await jobs.publish({})

asyncio.run(first())
asyncio.run(second())
"""

PROGRAMS = [
    Mistake(
        "Celery's .delay of a handler", program("work.delay({})"), "python jobs.py",
        ("work.delay: a handler stays a plain function", "write 'await queue.publish(body)'"), 1,
    ),
    Mistake(
        "Taskiq's .kiq of a task", program("await mail.kiq('ada')", TASK), "python jobs.py",
        ("'Task' object has no attribute 'kiq'", "write 'await task.publish(…)' with the function's arguments"), 1,
    ),
    Mistake(
        "Dramatiq's .send of a queue", program("jobs.send({})"), "python jobs.py",
        ("'QueueHandle' object has no attribute 'send'", "write 'await queue.publish(body)'"), 1,
    ),
    Mistake(
        "Celery's countdown", program("await jobs.publish({}, countdown=5)"), "python jobs.py",
        ("publish(…) has no option 'countdown'; write delay",), 1,
    ),
    Mistake(
        "a misspelt option of publish", program("await jobs.publish({}, dealy='5s')"), "python jobs.py",
        ("publish(…) has no option 'dealy'; there are: headers, delay",), 1,
    ),
    Mistake(
        "a duration in words", program("await jobs.publish({}, delay='5 seconds')"), "python jobs.py",
        ("delay: '5 seconds' is not a duration; write it like 500ms, 30s or 1h30m",), 1,
    ),
    Mistake(
        "an argument of another name", program("await mail.publish(too='ada')", TASK), "python jobs.py",
        ("mail.publish(…) has no parameter 'too'; nothing was sent; its arguments are (to: str)",), 1,
    ),
    Mistake(
        "a body that is not JSON", program("await jobs.publish({'file': object()})"), "python jobs.py",
        ("body cannot be written as JSON", "give its type a converter: app.converter(object, …)"), 1,
    ),
    Mistake(
        "publish before the app is open", {"jobs.py": JOBS + "\nimport asyncio\nasyncio.run(jobs.publish({}))\n"},
        "python jobs.py", ("the app is not open", "use it inside 'async with app:', or app.sync"), 1,
    ),
    Mistake(
        "with instead of async with", {"jobs.py": JOBS + "\nwith app:\n    pass\n"}, "python jobs.py",
        ("the app opens in an event loop", "write 'async with app:'", "app.sync.publish(queue, body)"), 1,
    ),
    Mistake(
        "a forgotten await", program("jobs.publish({'a': 1})"), "python jobs.py",
        ("coroutine 'QueueHandle.publish' was never awaited", "jobs.publish({'a': 1})"), 0,
    ),
    Mistake(
        "app.run without asyncio.run", {"jobs.py": JOBS + "\napp.run()\n"}, "python jobs.py",
        ("coroutine 'App.run' was never awaited", "jobs.py ends", "tasuki run jobs.py"), 0,
    ),
    Mistake(
        "app.run within the block", program("await app.run()"), "python jobs.py",
        ("app.run() closes the app at its end", "call it outside of the block"), 1,
    ),
    Mistake(
        "asyncio.run twice", {"jobs.py": JOBS + TWO_LOOPS}, "python jobs.py",
        ("queue 'jobs' was opened in another event loop", "asyncio.run_coroutine_threadsafe(…, app.loop)"), 1,
    ),
    Mistake(
        "publish in the loop of another thread",
        program("await asyncio.to_thread(lambda: asyncio.run(jobs.publish({})))"), "python jobs.py",
        ("queue 'jobs' was opened in another event loop", "asyncio.run_coroutine_threadsafe(…, app.loop)"), 1,
    ),
    Mistake(
        "a call for sync code in a running loop", program("app.sync.publish(jobs, {})"), "python jobs.py",
        ("app.sync would block the event loop", "await the queue's own publish here"), 1,
    ),
    Mistake(
        "the consumer was never started", program("await jobs.publish({})"), "python jobs.py",
        ("consumer app:work.consumer never ran in it", "start one: tasuki run jobs.py", "async with app.worker()"), 0,
    ),
    Mistake(
        "nothing was started at all", {"jobs.py": JOBS}, "python jobs.py",
        ("jobs.py ends", "never ran in it", "tasuki run jobs.py"), 0,
    ),
]  # fmt: skip
