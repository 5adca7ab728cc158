"""Mistakes on the command line, and of handlers while they run."""

from __future__ import annotations

from tests.e2e.beginners.mistake import JOBS, TASK, Mistake

MEMORY = JOBS.replace("App()", 'App("memory://")')
NOWHERE = JOBS.replace("App()", 'App("sqlite:////proc/nowhere/queue.db")')
RUN = "tasuki run --until-empty"
PUBLISH = "tasuki publish jobs {}"


def handler(line: str) -> dict[str, str]:
    return {"jobs.py": JOBS.replace('print("worked", body)', line)}


COMMANDS = [
    Mistake(
        "a folder without a project", {}, "tasuki run",
        ("there is no project here; looked for", "TASUKI_PROJECT: not set", "tasuki init DIR"),
    ),
    Mistake("the wrong folder", {"shop/jobs.py": JOBS}, "tasuki queues", ("did you mean -p shop/jobs.py:app?",)),
    Mistake("a dot for the colon", {"jobs.py": JOBS}, "tasuki run jobs.app", ("did you mean jobs:app?",)),
    Mistake(
        "a wrong name in pyproject.toml", {"jobs.py": JOBS, "pyproject.toml": '[tool.tasuki]\napp = "jobs:ap"\n'},
        "tasuki run", ("module 'jobs' has no attribute 'ap'; did you mean jobs:app?", "pyproject.toml"),
    ),
    Mistake(
        "the command of another program", {"jobs.py": JOBS}, "tasuki worker",
        ("No such command 'worker'", "Write: tasuki run [TARGET]"), 2,
    ),
    Mistake(
        "an option before the command", {"jobs.py": JOBS}, "tasuki -p jobs.py queues",
        ("No such option '-p'.", "Options of a command are written after it: tasuki queues -p …"), 2,
    ),
    Mistake(
        "python -m with the project", {"jobs.py": JOBS}, "python -m tasuki jobs:app",
        ("No such command 'jobs:app'", "Try 'tasuki --help'"), 2,
    ),
    Mistake(
        "a queue that is not there", {"jobs.py": JOBS}, "tasuki publish job {}",
        ("queue 'job' is not defined; did you mean 'jobs'?",), 1,
    ),
    Mistake(
        "a body on the command line that is not JSON", {"jobs.py": JOBS}, "tasuki publish jobs '{to: ada}'",
        ("Invalid value for BODY: it is not JSON", "use --raw text to send it as it is"), 2,
    ),
    Mistake(
        "a body of another type", {"jobs.py": JOBS}, "tasuki publish jobs 5",
        ("queue 'app:jobs' takes dict (declared at", "jobs.py:7", "this int is not one"), 1,
    ),
    Mistake(
        "no worker runs", {"jobs.py": JOBS}, "tasuki queues",
        ("no worker consumes app:jobs; start one: tasuki run",), 0, before=(PUBLISH,),
    ),
    Mistake(
        "a queue in memory, from another process", {"jobs.py": MEMORY}, PUBLISH,
        ("lives in the memory of the process that runs it", "use a durable driver", "queue.driver.sqlite"), 1,
    ),
    Mistake(
        "a queue in memory, for two processes", {"jobs.py": MEMORY}, "tasuki run --processes 2",
        ("each process would have its own", "use a durable driver", "or run one process"), 1,
    ),
    Mistake(
        "a folder that cannot be written", {"jobs.py": NOWHERE}, PUBLISH,
        ("error: SQLite file '/proc/nowhere/queue.db': its storage refuses to work", "No such file or directory"), 4,
    ),
    Mistake(
        "a handler that raises", handler('body["to"]'), RUN,
        ("dead-lettered to app:jobs.dead after attempt 1 (max_attempts): KeyError: 'to'", "jobs.py\\\", line 9"), 0,
        before=(PUBLISH,),
    ),
    Mistake(
        "sys.exit in a handler", handler("import sys; sys.exit(3)"), RUN,
        ("the handler raised SystemExit(3); it cannot end the worker", "dead-lettered to app:jobs.dead"), 0,
        before=(PUBLISH,),
    ),
    Mistake(
        "a delay in the place of the reason", handler("from tasuki import Retry; raise Retry('30s')"), RUN,
        ("Retry('30s') gives a delay as the reason; write Retry(after='30s')", "line 9"), 0, before=(PUBLISH,),
    ),
    Mistake(
        "a forgotten await in a handler", handler("jobs.publish(body, id='again')"), RUN,
        ("coroutine 'QueueHandle.publish' was never awaited", "jobs.py:9"), 0, before=(PUBLISH,),
    ),
    Mistake(
        "a handler that blocks the event loop", handler("import time; time.sleep(2)"), RUN,
        ("the event loop is blocked by the handler app:work", "make the handler a plain def", "line 9, in work"), 0,
        before=(PUBLISH,),
    ),
    Mistake(
        "print in a handler", {"jobs.py": JOBS}, RUN, ("worked {}",), 0, before=(PUBLISH,),
    ),
    Mistake(
        "a worker older than the publisher", {"jobs.py": TASK}, RUN,
        ("this consumer has no task 'mall'; did you mean 'mail'?", "given up", "(unknown_task)"), 0,
        before=("tasuki publish jobs '{\"to\": \"ada\"}' --header message_type=mall",),
    ),
    Mistake(
        "a task without its name", {"jobs.py": TASK}, PUBLISH,
        ("queue 'app:jobs' takes calls of tasks (mail)", "this message names none", "write await mail.publish(…)"), 1,
    ),
    Mistake(
        "JSON without quotes in a shell", {"jobs.py": JOBS}, "tasuki publish jobs {to: ada}",
        ("Invalid value for BODY: the shell has split it into 2 words", "write it in single quotes"), 2,
    ),
    Mistake(
        "a text as JSON", {"jobs.py": JOBS}, "tasuki publish jobs ada",
        ("Invalid value for BODY: it is not JSON", "'{\"to\": \"ada\"}'", "or use --raw text"), 2,
    ),
    Mistake(
        "a ttl of zero on the command line", {"jobs.py": JOBS}, "tasuki publish jobs {} --ttl 0s",
        ("queue 'app:jobs': with ttl=0", "give it a time such as ttl='5m', or leave ttl out"), 1,
    ),
]  # fmt: skip
