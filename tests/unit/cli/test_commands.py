"""Each command: its output, its JSON, its exit code."""

from __future__ import annotations

import asyncio
import json
import re
from email.message import Message
from pathlib import Path

import pytest

from tasuki import App
from tasuki.cli.commands.project import documents
from tasuki.contracts.driver import Nack
from tests.support.cli_project import lines_of, notes, write_project
from tests.unit.cli.conftest import CommandLine

ECHO = """
def handle(body):
    note(str(body))
"""


def test_a_message_goes_the_whole_way(tasuki: CommandLine, project: Path) -> None:
    sent = tasuki.json("publish", "tasks", '{"n": 1}', "--header", "source=test", "--id", "m-1")
    assert sent == {"queue": "app:tasks", "id": "m-1", "status": "confirmed", "durability": "power"}
    info = tasuki.json("info", "tasks")
    assert set(info) == {
        "queue", "driver", "message_count", "ready", "in_flight", "delayed", "consumer_count", "oldest_age",
    }  # fmt: skip
    assert (info["queue"], info["driver"], info["message_count"]) == ("app:tasks", "app:driver", 1)
    [message] = tasuki.json("peek", "app:tasks")
    assert (message["id"], message["body"], message["headers"]["source"]) == ("m-1", {"n": 1}, "test")
    assert tasuki.json("queues")[0]["ready"] == 1
    assert tasuki("run", "--until-empty").returncode == 0
    assert notes(project) == ["{'n': 1}"]
    assert tasuki.json("info", "tasks")["message_count"] == 0


def test_a_file_of_bodies(tasuki: CommandLine, project: Path) -> None:
    (project / "bodies.jsonl").write_text(lines_of(*range(2500)) + "\nnot json\n" + lines_of("last"))
    done = tasuki("publish", "tasks", "--file", "bodies.jsonl", "--json")
    assert done.returncode == 1
    report = json.loads(done.stdout)
    assert (report["confirmed"], report["rejected"], report["unknown"]) == (2501, 1, 0)
    assert [problem["line"] for problem in report["problems"]] == [2502]
    assert tasuki.json("info", "tasks")["ready"] == 2501
    assert tasuki.json("purge", "tasks", "--yes") == {"queue": "app:tasks", "purged": 2501}


def test_a_file_of_envelopes_from_stdin(tasuki: CommandLine, project: Path) -> None:
    lines = lines_of(
        {"body": 1, "id": "a", "headers": {"x": True}, "priority": 9},
        {"body": 2, "id": "b", "delay": "1h"},
        {"body": 3, "unknown": 1},
    )
    done = tasuki("publish", "tasks", "--file", "-", "--envelopes", stdin=lines)
    assert done.returncode == 1
    assert "2 confirmed, 1 rejected" in done.stdout
    assert "line 3" in done.stderr
    first, second = tasuki.json("peek", "tasks")
    assert (first["id"], first["headers"]["x"], first["headers"]["priority"]) == ("a", True, 9)
    assert second["id"] == "b"
    assert tasuki.json("info", "tasks")["delayed"] == 1


def test_a_message_that_is_the_only_one_of_its_key(tasuki: CommandLine, project: Path) -> None:
    assert "confirmed by" in tasuki("publish", "tasks", "1", "--unique", "k", "--id", "a").stdout
    kept = tasuki("publish", "tasks", "2", "--unique", "k", "--unique-for", "running", "--id", "b")
    assert kept.stdout == "a has the key in app:tasks; it was kept, and nothing was added\n"
    assert tasuki.json("publish", "tasks", "3", "--unique", "k", "--on-conflict", "replace", "--id", "c") == {
        "queue": "app:tasks",
        "id": "c",
        "status": "confirmed",
        "durability": "power",
        "outcome": "replaced",
        "instead_of": "a",
    }
    later = ("--on-conflict", "extend", "--delay", "1h", "--unique-max", "2h", "--id", "d")
    shown = tasuki("publish", "tasks", "4", "--unique", "k", *later).stdout
    assert shown == "d has taken the place, and begins the delay, of c in app:tasks\n"
    assert [message["id"] for message in tasuki.json("peek", "tasks")] == ["d"]
    wrong = tasuki("publish", "tasks", "5", "--unique-for", "10m")
    assert wrong.returncode == 1
    assert "unique_for needs a key" in wrong.stderr


def test_bodies_from_stdin_and_raw_ones(tasuki: CommandLine, project: Path) -> None:
    assert tasuki("publish", "tasks", "-", stdin='{"from": "stdin"}').returncode == 0
    assert tasuki("publish", "tasks", "--raw", "text", "plain words").returncode == 0
    assert tasuki("publish", "tasks", "--raw", "bytes", "-", stdin=b"\x00\xff").returncode == 0
    first, second, third = tasuki.json("peek", "tasks")
    assert (first["body"], second["body"], third["body_base64"]) == ({"from": "stdin"}, "plain words", "AP8=")
    assert "base64:AP8=" in tasuki("peek", "tasks").stdout


def test_the_last_error_is_shown(tasuki: CommandLine, project: Path) -> None:
    tasuki.json("publish", "tasks", "1", "--id", "m-1")

    async def fail() -> None:
        app = App.load(project)
        async with app._runtime.reading():
            queue = app._runtime.queue("app:tasks")
            await queue.depth()
            (got,) = await queue.driver.receive(queue.spec.name, 1, 1.0)
            await queue.driver.settle(queue.spec.name, [Nack(got.receipt, 3600.0, "ValueError: no\ngood")])

    asyncio.run(fail())
    (message,) = tasuki.json("peek", "tasks")
    assert message["headers"]["x_last_error"] == "ValueError: no\ngood"
    assert isinstance(message["headers"]["x_last_error_time"], float)
    assert re.search(r"m-1 .* ValueError: no\\ngood \([0-9.]+m?s ago\)", tasuki("peek", "tasks").stdout)


def test_dead_letters_are_redriven(tasuki: CommandLine, project: Path) -> None:
    write_project(project, "def handle(body):\n    raise ValueError('no good')\n")
    tasuki.json("publish", "tasks", "1")
    tasuki.json("publish", "tasks", "2")
    assert tasuki("run", "--until-empty").returncode == 0
    assert tasuki.json("info", "dead")["ready"] == 2
    assert tasuki.json("redrive", "dead", "--limit", "1")["moved"] == 1
    assert tasuki.json("info", "tasks")["ready"] == 1
    done = tasuki("redrive", "dead", "--to", "tasks")
    assert "1 message" in done.stdout
    assert tasuki.json("info", "dead")["ready"] == 0


def test_a_redrive_of_the_queue_itself_names_its_dead_letters(tasuki: CommandLine, project: Path) -> None:
    write_project(project, "def handle(body): ...\n")
    tasuki.json("publish", "tasks", "1")
    refused = tasuki("redrive", "tasks")
    assert refused.returncode == 1
    assert "queue 'app:tasks' is no dead-letter queue" in refused.stderr
    assert "its dead letters are in app:dead: tasuki redrive app:dead" in refused.stderr
    assert tasuki.json("info", "tasks")["ready"] == 1


def test_calling_functions(tasuki: CommandLine, project: Path) -> None:
    write_project(project, "def handle(a, b=0):\n    return {'sum': a + b}\n")
    assert tasuki.json("call", "handle", "1", "2") == {"sum": 3}
    assert tasuki.json("call", "app:handle", "x", '"y"') == {"sum": "xy"}
    assert tasuki.json("call", "handle", "1", "-2") == {"sum": -1}
    failed = tasuki("call", "handle", "1", "x")
    assert failed.returncode == 1
    assert "TypeError" in failed.stderr
    assert "handlers.py:" in failed.stderr
    assert "Traceback" not in failed.stderr
    assert "Traceback" in tasuki("call", "handle", "1", "x", "--log-level", "debug").stderr


TESTS = """
def good(): ...
def wrong(): return False
def pair(): return None, "an error"
def raising(): raise KeyError("x")
async def slow_but_good(): return 0
"""


def test_tests_pass_and_fail(tasuki: CommandLine, project: Path) -> None:
    write_project(project, ECHO + TESTS)
    entries = "".join(
        f"  - {{name: {name}, kind: function.python, source: file://handlers.py, method: {name}, "
        f"meta: {{type: test, suite: {suite}}}}}\n"
        for name, suite in [
            ("good", "fine"),
            ("wrong", "ill"),
            ("pair", "ill"),
            ("raising", "ill"),
            ("slow_but_good", "fine"),
        ]
    )
    with (project / "_index.yaml").open("a") as file:
        file.write(entries)
    done = tasuki("test", "--json")
    assert done.returncode == 1
    status = {result["id"]: result["status"] for result in json.loads(done.stdout)}
    assert status == {
        "app:good": "passed",
        "app:wrong": "failed",
        "app:pair": "failed",
        "app:raising": "failed",
        "app:slow_but_good": "passed",
    }
    assert [result["suite"] for result in tasuki.json("test", "good")] == ["fine", "fine"]
    shown = tasuki("test", "ill")
    assert "it returned false" in shown.stdout
    assert "an error" in shown.stdout
    assert "0 tests passed, 3 failed" in shown.stdout
    assert tasuki("test", "nothing").returncode == 1


def test_wrong_names_and_usage(tasuki: CommandLine, project: Path) -> None:
    wrong = tasuki("info", "taks")
    assert wrong.returncode == 1
    assert "did you mean 'tasks'?" in wrong.stderr
    assert tasuki("publish", "tasks").returncode == 2
    assert tasuki("publish", "tasks", "no json").returncode == 2
    unknown = tasuki("pubish")
    assert unknown.returncode == 2
    assert "publish" in unknown.stderr
    assert tasuki("run", "nowhere").returncode == 3
    assert tasuki("run", "nowhere:app").returncode == 3


def test_purge_asks(tasuki: CommandLine, project: Path) -> None:
    tasuki.json("publish", "tasks", "1")
    assert tasuki("purge", "tasks", stdin="").returncode == 1
    assert tasuki("purge", "tasks", stdin="n\n").returncode == 1
    assert tasuki.json("info", "tasks")["ready"] == 1
    assert "1 message removed" in tasuki("purge", "tasks", stdin="y\n").stdout


def test_remove_asks_and_takes_out_what_it_names(tasuki: CommandLine, project: Path) -> None:
    for id in "abcd":
        tasuki.json("publish", "tasks", "1", "--id", id)
    refused = tasuki("remove", "tasks", "a", "b", stdin="n\n")
    assert refused.returncode == 1
    assert "Remove the messages with 2 ids from app:tasks permanently?" in refused.stderr
    assert tasuki("remove", "tasks", "--yes").returncode == 2
    assert tasuki("remove", "tasks", "a", stdin="y\n").stdout.endswith("1 message removed from app:tasks\n")
    assert tasuki.json("remove", "tasks", "b", "c", "x", "--yes") == {"queue": "app:tasks", "removed": 2}
    assert [message["id"] for message in tasuki.json("peek", "tasks")] == ["d"]


def test_delete_asks_and_removes_the_queue_with_its_messages(tasuki: CommandLine, project: Path) -> None:
    tasuki.json("publish", "tasks", "1")
    refused = tasuki("delete", "tasks", stdin="n\n")
    assert refused.returncode == 1
    assert "Delete queue app:tasks with 1 message permanently?" in refused.stderr
    assert "nothing was removed; answer y, or give --yes" in refused.stderr
    assert tasuki.json("info", "tasks")["ready"] == 1
    assert tasuki("delete", "tasks", stdin="y\n").stdout == "app:tasks deleted with 1 message\n"
    gone = tasuki("delete", "tasks", "--yes")
    assert gone.returncode != 0
    assert "queue 'app:tasks' does not exist at its broker" in gone.stderr
    tasuki.json("publish", "tasks", "1")
    assert tasuki.json("delete", "tasks", "--yes") == {"queue": "app:tasks", "deleted": 1}


def test_pictures_and_tables(tasuki: CommandLine, project: Path) -> None:
    assert "dead letters → app:dead" in tasuki("graph").stdout
    assert tasuki("graph", "--format", "mermaid").stdout.startswith("flowchart LR")
    assert tasuki("graph", "--format", "dot").stdout.startswith("digraph")
    with (project / "_index.yaml").open("a") as file:
        file.write("    middleware: [around]\n  - {name: around, kind: middleware.python, source: file://handlers.py, ")
        file.write("method: handle}\n")
    assert "│     ├─ middleware → app:around" in tasuki("graph").stdout
    assert "-. middleware .->" in tasuki("graph", "--format", "mermaid").stdout
    graph = tasuki.json("graph")
    assert {"from": "app:consumer", "to": "app:around", "what": "middleware"} in graph["edges"]
    assert {"from": "app:tasks", "to": "app:consumer", "what": "feeds"} in graph["edges"]
    drivers = {driver["name"]: driver["capabilities"] for driver in tasuki.json("drivers")}
    assert drivers["sqlite"]["durability"] == "power"
    assert drivers["memory"]["emulates"] == drivers["amqp"]["unique"] == []
    assert drivers["memory"]["unique"] == ["extend", "keep", "pending", "replace", "running", "window"]
    shown = tasuki("drivers").stdout
    assert "order per key" in shown
    assert "`" not in shown
    assert tasuki.json("schema")["type"] == "object"


def test_docs_names_the_pages_of_the_version(tasuki: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    assert tasuki("docs").stdout.strip().endswith(("/docs/README.md", "/build/site/en/index.html"))
    monkeypatch.setattr(documents, "_CLONE", Path("/nowhere"))
    done = tasuki("docs")
    assert (done.returncode, "docs/README.md in the source package" in done.stderr) == (1, True)
    package, shown = Message(), list[str]()
    package["Project-URL"] = "Documentation, https://a/b"
    monkeypatch.setattr("importlib.metadata.metadata", lambda _: package)
    monkeypatch.setattr("click.launch", shown.append)
    assert tasuki("docs", "--open").stdout == "https://a/b\n"
    assert shown == ["https://a/b"]


def test_a_short_measurement(tasuki: CommandLine, project: Path) -> None:
    report = tasuki.json("bench", "memory://", "--messages", "500")
    assert [row["what"] for row in report["results"]] == [
        "bare loop", "publish one by one", "publish 1000 at a time", "consume",
    ]  # fmt: skip
    assert all(row["messages_per_second"] > 0 for row in report["results"])
    assert "consume" in tasuki("bench", "--messages", "300").stdout
    assert sorted(path.name for path in project.iterdir()) == ["_index.yaml", "handlers.py"]
