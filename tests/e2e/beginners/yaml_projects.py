"""Mistakes in YAML and in Lua."""

from __future__ import annotations

from tests.e2e.beginners.mistake import Mistake

ENTRIES = """\
version: "1.0"
namespace: app
entries:
  - {name: driver, kind: queue.driver.sqlite, path: queue.db}
  - {name: jobs, kind: queue.queue, driver: driver, dead_letter: {queue: dead, max_attempts: 1}}
  - {name: dead, kind: queue.queue, driver: driver}
  - {name: work, kind: function.lua, modules: [logger], source: file://work.lua}
  - {name: consumer, kind: queue.consumer, queue: jobs, func: work, lifecycle: {auto_start: true}}
"""
SCRIPT = 'local logger = require("logger")\nreturn function(body) logger.info("got it") end\n'
CHECK = "tasuki check"
RUN = "tasuki run --until-empty"
PUBLISH = "tasuki publish jobs 1"


def project(old: str = "", new: str = "", script: str = SCRIPT) -> dict[str, str]:
    """The project with one text replaced."""
    assert old in ENTRIES
    return {"_index.yaml": ENTRIES.replace(old, new), "work.lua": script}


MISINDENTED = """\
  - name: consumer
    kind: queue.consumer
    queue: jobs
    func: work
    lifecycle:
    auto_start: true
"""

YAML_PROJECTS = [
    Mistake(
        "a tab", project("  - {name: jobs", "\t- {name: jobs"), CHECK,
        ("_index.yaml:5:1: this is not YAML", "a tab indents this line; indent with spaces"),
    ),
    Mistake(
        "a key twice", project("namespace: app", "namespace: app\nnamespace: app"), CHECK,
        ("_index.yaml:3:1: this key is given twice: line 2 has it already",),
    ),
    Mistake(
        "an entry that stands too far left", project("  - {name: jobs", " - {name: jobs"), CHECK,
        ("_index.yaml:5:2: this is not YAML",),
    ),
    Mistake(
        "a field beside the mapping that it belongs to",
        {"_index.yaml": ENTRIES.partition("  - {name: consumer")[0] + MISINDENTED, "work.lua": SCRIPT}, CHECK,
        ("_index.yaml:12:5: app:consumer: lifecycle must be a mapping, not nothing", "_index.yaml:13:5"),
    ),
    Mistake(
        "a misspelt option in YAML", project("func: work", "function: work"), CHECK,
        ("_index.yaml:8:57: app:consumer: unknown field 'function'; did you mean 'func'?",),
    ),
    Mistake(
        "a misspelt kind", project("queue.consumer", "consumer"), CHECK,
        ("app:consumer: kind 'consumer' is not known; did you mean 'queue.consumer'?", "_index.yaml:8"),
    ),
    Mistake(
        "a blank that is missing after the colon",
        project("kind: queue.queue, driver: driver, dead", "kind:queue.queue, dead"), CHECK,
        ("_index.yaml:5:5: app:jobs: the entry has no kind", "add a line kind: …"),
    ),
    Mistake(
        "a URL as the path of a file", project("queue.db", "sqlite:///queue.db"), CHECK,
        ("_index.yaml:4:47: app:driver: path: this is a URL; write the path alone",),
    ),
    Mistake(
        "a colon in the namespace", project("namespace: app", 'namespace: "app:shop"'), CHECK,
        ("_index.yaml:2:1: 'app:shop' is not a valid namespace; a colon ends the namespace", "error: 1 problem"),
    ),
    Mistake(
        "a reference to nothing", project("queue: jobs", "queue: job"), CHECK,
        ("_index.yaml:8", "refers to queue 'app:job', which is not defined; did you mean 'app:jobs'?"),
    ),
    Mistake(
        "a file without a namespace", project("namespace: app\n"), CHECK,
        ("warning: _index.yaml:2:1: these entries are skipped: the file has no namespace", "write namespace: app"), 0,
    ),
    Mistake(
        "a consumer that does not start", project(", lifecycle: {auto_start: true}"), RUN,
        ("_index.yaml:8:5: app:consumer: the consumer does not start", "write lifecycle: {auto_start: true}"), 0,
    ),
    Mistake(
        "a variable that is not set", project("queue.db", "'${env:QUEUE_PATH}'"), CHECK,
        ("_index.yaml:4:47: app:driver: the variable 'QUEUE_PATH' is not set", "no .env file is read", "|default}"),
    ),
    Mistake(
        "a placeholder as in a shell", project("queue.db", "'${QUEUE_PATH}'"), CHECK,
        ("warning: _index.yaml:4:47", "a placeholder is written ${env:NAME}"), 0,
    ),
    Mistake(
        "a script that is not there", {"_index.yaml": ENTRIES}, CHECK,
        ("_index.yaml:7:57: app:work: file 'work.lua' does not exist",),
    ),
    Mistake(
        "a path without file://", project("file://work.lua", "work.lua"), CHECK,
        ("_index.yaml:7:57: app:work: line 1 of the script", "for a file write file://work.lua"),
    ),
    Mistake(
        "a path of Windows", project("file://work.lua", r"'file://scripts\work.lua'"), CHECK,
        ("_index.yaml:7:57", "does not name a file; write it like file://scripts/work.lua"),
    ),
    Mistake(
        "a drive of Windows", project("file://work.lua", r"'C:\shop\work.lua'"), CHECK,
        ("_index.yaml:7:57", "for a file write file://shop/work.lua"),
    ),
    Mistake(
        "Lua that is not Lua", project(script="return function(body) x = = 1 end\n"), CHECK,
        ("work.lua:1: app:work: unexpected symbol near '='",),
    ),
    Mistake(
        "a script that returns nothing", project(script="local function handle(body) end\n"), RUN,
        ("app:work: work.lua returns nil; return a function, or a table with functions",), 1,
    ),
    Mistake(
        "a module that modules does not list", project(", modules: [logger]"), CHECK,
        ("work.lua:1: app:work: the script requires 'logger', which the entry does not list", "modules: [logger]"),
    ),
    Mistake(
        "a module without require", project(script="return function(body) return json.encode(body) end\n"), RUN,
        ("work.lua:1", "json is a module: write local json = require(", "and list it in modules"), 0, before=(PUBLISH,),
    ),
    Mistake(
        "a part of Lua that the sandbox lacks", project(script="return function(body) io.open('x') end\n"), RUN,
        ("work.lua:1", "(global 'io'); the sandbox has no io", "dead-lettered to app:dead"), 0, before=(PUBLISH,),
    ),
]  # fmt: skip
