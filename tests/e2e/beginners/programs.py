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
        ("queue 'jobs' was opened in another event loop", "asyncio.run_coroutine_threadsafe(…, app._runtime.loop)"), 1,
    ),
    Mistake(
        "publish in the loop of another thread",
        program("await asyncio.to_thread(lambda: asyncio.run(jobs.publish({})))"), "python jobs.py",
        ("queue 'jobs' was opened in another event loop", "asyncio.run_coroutine_threadsafe(…, app._runtime.loop)"), 1,
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
    Mistake(
        "a call of a task among the messages", program("await jobs.publish_many([mail('ada')])", TASK),
        "python jobs.py",
        ("publish_many to queue app:jobs: 1 of 1 items are refused", "the body is the coroutine of a call",
         "for a task write", "mail.message(…)"), 0,
    ),
    Mistake(
        "a message of a task as a body", program("await jobs.publish(mail.message('ada'))", TASK), "python jobs.py",
        ("queue 'app:jobs': the body is a Planned itself", "write publish_many([…]) for it", "task.publish(…)"), 1,
    ),
    Mistake(
        "an envelope as a body", program("from tasuki import Envelope; await jobs.publish(Envelope(body={}))"),
        "python jobs.py", ("queue 'app:jobs': the body is an Envelope itself", "write publish_many([…]) for it"), 1,
    ),
    Mistake(
        "a body on a queue of tasks", program("await jobs.publish({'to': 'ada'})", TASK), "python jobs.py",
        ("queue 'app:jobs' takes calls of tasks (mail)", "this message names none", "write await mail.publish(…)"), 1,
    ),
    Mistake(
        "bodies on a queue of tasks", program("await jobs.publish_many([{'to': 'ada'}])", TASK), "python jobs.py",
        ("publish_many to queue app:jobs: 1 of 1 items are refused", "write await mail.publish(…)"), 0,
    ),
    Mistake(
        "a queue of tasks as what follows", program("await app.group([mail.message('ada')], then=jobs)", TASK),
        "python jobs.py", ("queue 'app:jobs' takes calls of tasks (mail)", "write await mail.publish(…)"), 1,
    ),
    Mistake(
        "a message for another queue",
        program("await app.queue('other').publish_many([mail.message('a')])", TASK + "\napp.queue('other')\n"),
        "python jobs.py", ("of queue 'app:jobs', not of 'app:other'", "give it to that queue's publish_many"), 0,
    ),
    Mistake(
        "a number as a key", program("await jobs.publish({1: 2})"), "python jobs.py",
        ("body has the key 1 (int), which JSON carries as a text", "publish the keys as texts"), 1,
    ),
    Mistake(
        "a time in a body", program("import datetime as d; await jobs.publish({'at': d.datetime.now(d.UTC)})"),
        "python jobs.py",
        ("body['at'] is a datetime, which JSON carries as a text", "publish body['at'].isoformat()"), 1,
    ),
    Mistake(
        "a set in a body", program("await jobs.publish({'tags': {'a'}})"), "python jobs.py",
        ("body['tags'] is a set, which JSON carries as a list", "publish sorted(body['tags'])"), 1,
    ),
    Mistake(
        "a decimal in a body", program("from decimal import Decimal; await jobs.publish({'n': Decimal('1.5')})"),
        "python jobs.py", ("body['n'] is a Decimal, which JSON carries as a text", "publish str(body['n'])"), 1,
    ),
    Mistake(
        "bytes in a body", program("await jobs.publish({'raw': b'x'})"), "python jobs.py",
        ("body['raw'] is a bytes, which JSON carries as base64 text", "base64.b64encode(body['raw']).decode()"), 1,
    ),
    Mistake(
        "timeout of a publish", program("await jobs.publish({}, timeout=5)"), "python jobs.py",
        ("publish(…) has no option 'timeout'; write handler_timeout (the longest run) or publish_timeout",), 1,
    ),
    Mistake(
        "timeout of a message of a task", program("mail.with_options(timeout=5)", TASK), "python jobs.py",
        ("with_options(…) has no option 'timeout'; write handler_timeout", "or reply_timeout (until its reply"), 1,
    ),
    Mistake(
        "retry of a message", program("mail.with_options(retry=3)", TASK), "python jobs.py",
        ("with_options(…) has no option 'retry'; write retries=5, or retries=Retries(5, …)",), 1,
    ),
    Mistake(
        "no attempt of a message", program("await jobs.publish({}, retries=0)"), "python jobs.py",
        ("retries must be the number of attempts, 1 or more, or Retries(5, …), not 0",), 1,
    ),
    Mistake(
        "a ttl of zero", program("await jobs.publish({}, ttl=0)"), "python jobs.py",
        ("queue 'app:jobs': with ttl=0 a message expires before it is received", "such as ttl='5m'"), 1,
    ),
    Mistake(
        "send in a coroutine", program("mail.send('ada')", TASK), "python jobs.py",
        ("mail.send(…) would block the event loop: write await mail.publish(…)",), 1,
    ),
    Mistake(
        "an argument of another type", program("await mail.publish(5)", TASK), "python jobs.py",
        ("mail.publish(…) cannot take this int as parameter 'to' (str)", "nothing was sent", "(to: str)"), 1,
    ),
    Mistake(
        "a request without a worker", program("await jobs.request({}, reply_timeout='1s')"), "python jobs.py",
        ("queue 'app:jobs': no reply within 1s; no worker consumes it", "tasuki run", "async with app.worker():"), 1,
    ),
    Mistake(
        "call of a task, as it was once", program("mail.call('ada')", TASK), "python jobs.py",
        ("object has no attribute 'call'", "write 'await task.publish(…)'"), 1,
    ),
]  # fmt: skip
