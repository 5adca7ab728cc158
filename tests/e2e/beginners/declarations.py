"""Mistakes in what an App in Python declares, and in where it stands."""

from __future__ import annotations

from pathlib import Path

from tests.e2e.beginners.mistake import JOBS, Mistake

HEAD = "from tasuki import App\n\napp = App()\n"
QUEUE = HEAD + 'jobs = app.queue("jobs")\n'
RUN = "tasuki run --until-empty"
CHECK = "tasuki check"


def app(url: str) -> dict[str, str]:
    return {"jobs.py": QUEUE.replace("App()", f"App({url!r})") + "\n@jobs.consumer\ndef work(body): ...\n"}


def hide_the_client(folder: Path) -> None:
    (folder / "jobs.py").write_text("import sys\n\nsys.modules['hiredis'] = None\n" + (folder / "jobs.py").read_text())


DECLARATIONS = [
    Mistake(
        "Celery's @app.task", {"jobs.py": HEAD + "\n@app.task\ndef work(): ...\n"}, RUN,
        ("'App' object has no attribute 'task'", "write '@queue.task' above a function", "jobs.py:5"),
    ),
    Mistake(
        "@app.consumer", {"jobs.py": HEAD + "\n@app.consumer\ndef work(): ...\n"}, RUN,
        ("'App' object has no attribute 'consumer'", "write '@queue.consumer()'", "jobs.py:5"),
    ),
    Mistake(
        "@app.queue as decorator", {"jobs.py": HEAD + "\n@app.queue('jobs')\ndef work(body): ...\n"}, RUN,
        ("<queue app:jobs> cannot be called, and is no decorator: write '@queue.consumer()'", "jobs.py:5"),
    ),
    Mistake(
        "a handler with two parameters", {"jobs.py": QUEUE + "\n@jobs.consumer\ndef work(to, text): ...\n"}, CHECK,
        ("jobs.py:6: app:work", "cannot inject parameter 'text'", "with several arguments is a task: @queue.task"),
    ),
    Mistake(
        "a handler without parameters", {"jobs.py": QUEUE + "\n@jobs.consumer\ndef work(): ...\n"}, CHECK,
        ("warning", "jobs.py:6", "'work' takes no parameter, so it does not see the body", "write def work(body)"), 0,
    ),
    Mistake(
        "a handler that yields", {"jobs.py": QUEUE + "\n@jobs.consumer\ndef work(body): yield body\n"}, CHECK,
        ("jobs.py:6: app:work", "function 'work' is a generator; a handler must not yield: return a value"),
    ),
    Mistake(
        "a misspelt option in Python",
        {"jobs.py": QUEUE + "\n@jobs.consumer(concurency=4)\ndef work(body): ...\n"}, RUN,
        ("jobs.py:6: app:work.consumer: unknown field 'concurency'; did you mean 'concurrency'?",),
    ),
    Mistake(
        "blanks in the name of a queue", {"jobs.py": QUEUE.replace('"jobs"', '"my jobs!"')}, CHECK,
        ("jobs.py:4: 'my jobs!' is not a valid name; use letters and digits of any language, '_', '-' and '.'",),
    ),
    Mistake(
        "two handlers of one name", {"jobs.py": JOBS + "\n@jobs.consumer\ndef work(body): ...\n"}, CHECK,
        ("jobs.py:11: app:work: entry 'app:work' is already defined at", "jobs.py:7"),
    ),
    Mistake(
        "two handlers of one queue", {"jobs.py": JOBS + "\n@jobs.consumer\ndef other(body): ...\n"}, CHECK,
        ("jobs.py:11", "each message goes to one of the two functions", "give each function its own queue"), 0,
    ),
    Mistake(
        "a name where the URL belongs", app("shop"), RUN,
        ("jobs.py:3: 'shop' is not a URL; write it like memory://, sqlite:///queue.db or redis://",),
    ),
    Mistake(
        "the scheme of another library", app("rabbitmq://localhost"), RUN,
        ("jobs.py:3: no driver has URLs that begin with rabbitmq://; write amqp://",),
    ),
    Mistake(
        "a password with a slash", app("redis://ada:p/w@localhost"), RUN,
        ("jobs.py:4: app:driver: url: cannot be read", "write redis://user:***@host:6379/0, and %2F for a /"),
    ),
    Mistake(
        "the name of a database at Redis", app("redis://localhost:6379/shop"), RUN,
        ("jobs.py:4: app:driver: url: it does not end with the number of a database", "redis://host:6379/0"),
    ),
    Mistake(
        "a wrong port", app("redis://localhost:1"), "tasuki publish jobs 1",
        ("Redis at localhost:1: it cannot be reached", "Connect call failed"), 4,
    ),
    Mistake(
        "a missing extra", app("redis://localhost:1"), RUN,
        ("driver 'app:driver' cannot be loaded", "pip install 'tasuki[redis]'"), 1, prepare=hide_the_client,
    ),
    Mistake(
        "a .env file is not read",
        {"jobs.py": "import os\n" + QUEUE.replace("App()", "App(os.environ['QUEUE_URL'])"), ".env": "QUEUE_URL=x\n"},
        RUN, ("the variable 'QUEUE_URL' is not set; set it in the environment (no .env file is read)", "jobs.py:4"),
    ),
    Mistake(
        "an App within a function", {"jobs.py": "from tasuki import App\n\ndef make():\n    return App()\n"},
        "tasuki run jobs:make", ("'jobs:make' is a function, not a tasuki.App", "write app = make() at the top level"),
    ),
    Mistake(
        "modules that import each other",
        {"jobs.py": "import work\n" + QUEUE, "work.py": "from jobs import jobs\n\n@jobs.consumer\ndef w(b): ...\n"},
        "tasuki run jobs.py", ("cannot import name 'jobs'", "make the App in its own module"),
    ),
    Mistake(
        "handlers in a module that is not imported",
        {"jobs.py": QUEUE, "work.py": "from jobs import jobs\n\n@jobs.consumer\ndef w(b): ...\n"}, RUN,
        ("nothing will be handled: there is no consumer", "above a function, and import its module in", "jobs.py"), 0,
    ),
    Mistake(
        "an error while the module is imported", {"jobs.py": QUEUE + "int('four')\n"}, RUN,
        ("ValueError: invalid literal for int() with base 10: 'four'", "jobs.py:5"),
    ),
    Mistake(
        "the class of an error in retry", {"jobs.py": QUEUE.replace('"jobs"', '"jobs", retry={"never": [OSError]}')},
        CHECK, ("jobs.py:4: app:jobs: retry.never.0 must be text, not the class OSError; write its name: 'OSError'",),
    ),
    Mistake(
        "a syntax error", {"jobs.py": QUEUE + "def work(:\n"}, RUN,
        ("jobs.py:5:10: this is not Python: invalid syntax",),
    ),
    Mistake(
        "a library that is not installed", {"jobs.py": "import no_such_library\n" + QUEUE}, RUN,
        ("No module named 'no_such_library'", "jobs.py:1"),
    ),
    Mistake(
        "a script named like a module of Python", {"queue.py": JOBS}, RUN,
        ("queue.py: another module has the name 'queue'", "rename the file"),
    ),
    Mistake(
        "a script named tasuki.py", {"tasuki.py": JOBS}, "tasuki run tasuki.py",
        ("tasuki.py: another module has the name 'tasuki'", "rename the file"),
    ),
    Mistake(
        "two Apps", {"jobs.py": JOBS, "web.py": JOBS}, RUN,
        ("holds several projects: jobs:app, web:app; say which, with -p, TASUKI_PROJECT, or app of [tool.tasuki]",),
    ),
    Mistake(
        "a method as handler",
        {"jobs.py": QUEUE + "\nclass Shop:\n    @jobs.consumer\n    def work(self, body): ...\n"}, CHECK,
        ("jobs.py:7: app:work", "it is a method of the class Shop, whose 'self' no message fills",
         "queue.consumer(Shop().work)"),
    ),
    Mistake(
        "a method as task", {"jobs.py": QUEUE + "\nclass Shop:\n    @jobs.task\n    def work(self, to): ...\n"}, CHECK,
        ("jobs.py:7: app:jobs", "it is a method of the class Shop", "declare a function outside of the class"),
    ),
    Mistake(
        "a misspelt URL, and no queue yet", {"jobs.py": HEAD.replace("App()", "App('reddis://localhost')")}, CHECK,
        ("jobs.py:3: no driver has URLs that begin with reddis://; did you mean 'redis'?",),
    ),
    Mistake(
        "timeout of a task", {"jobs.py": QUEUE + "\n@jobs.task(timeout='5s')\ndef work(): ...\n"}, RUN,
        ("task(…) has no option 'timeout'; write handler_timeout (the longest run)", "jobs.py:6"),
    ),
    Mistake(
        "timeout of a consumer", {"jobs.py": QUEUE + "\n@jobs.consumer(timeout='5s')\ndef work(body): ...\n"}, CHECK,
        ("jobs.py:6: app:work.consumer: unknown field 'timeout'", "did you mean 'handler_timeout'?"),
    ),
    Mistake(
        "one error in the place of a tuple",
        {"jobs.py": QUEUE + "\nfrom tasuki import Retries\njobs.task(retry=Retries(on=ValueError))\n"}, RUN,
        ("Retries(on=ValueError) must be a tuple of errors: write on=(ValueError,)", "jobs.py:7"),
    ),
    Mistake(
        "no attempt at all",
        {"jobs.py": QUEUE + "\nfrom tasuki import Retries\njobs.task(retry=Retries(0))\n"}, RUN,
        ("Retries(0): attempts must be a whole number from 1 on, as in Retries(5)", "jobs.py:7"),
    ),
    Mistake(
        "attempts without a dead-letter queue",
        {"jobs.py": "from tasuki import Retries\n" + QUEUE.replace('"jobs"', '"jobs", retry=Retries(3)')}, CHECK,
        ("jobs.py:5: app:jobs: retry.max_attempts needs a dead_letter: a queue for messages that are given up",),
    ),
]  # fmt: skip
