"""``tasuki dead`` and ``tasuki redrive`` of some letters."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tasuki import App
from tasuki.cli import output
from tasuki.contracts.driver import Release
from tasuki.dead import reading
from tests.support.cli_project import write_project
from tests.unit.cli.conftest import CommandLine

BROKEN = """
def handle(body):
    if body["n"] == 2:
        raise LookupError("no order " + "long " * 100 + "end")
    return 1 / (body["n"] - body["n"])
"""

MORE = """
  - {name: rabbit, kind: queue.driver.amqp, url: "amqp://127.0.0.1:1", lifecycle: {auto_start: true}}
  - {name: memory, kind: queue.driver.memory, lifecycle: {auto_start: true}}
  - {name: tasks.rabbit, kind: queue.queue, driver: rabbit, dead_letter: {queue: dead.rabbit}}
  - {name: dead.rabbit, kind: queue.queue, driver: rabbit}
  - {name: tasks.memory, kind: queue.queue, driver: memory, dead_letter: {queue: dead.memory}}
  - {name: dead.memory, kind: queue.queue, driver: memory}
"""


@pytest.fixture
def buried(tasuki: CommandLine, project: Path) -> CommandLine:
    write_project(project, BROKEN)
    for number in range(3):
        tasuki.json("publish", "tasks", f'{{"n": {number}}}', "--id", f"m-{number}")
    assert tasuki("run", "--until-empty").returncode == 0
    return tasuki


def test_groups_then_the_letters_of_one(buried: CommandLine) -> None:
    first, second = buried.json("dead")["groups"]
    assert (first["count"], first["type"], first["place"]) == (2, "ZeroDivisionError", "handlers.py:handle")
    assert (second["count"], second["type"], second["ids"]) == (1, "LookupError", ["m-2"])
    shown = buried("dead").stdout
    assert shown.startswith("2 x     ZeroDivisionError: division by zero\n")
    assert shown.endswith("3 dead letters (all)\n")
    letters = buried.json("dead", "--of", first["key"])["letters"]
    assert sorted(letter["id"] for letter in letters) == ["m-0", "m-1"]
    listed = buried("dead", "tasks", "--group", "type", "--of", "LookupError").stdout
    assert listed.startswith("error   LookupError: no order long")
    assert "long end" in listed  # not cut
    assert 'body    {"n": 2}' in listed


def test_letters_of_an_older_version_are_shown_though_its_index_lacks_them(buried: CommandLine, project: Path) -> None:
    def groups() -> list[tuple[Any, ...]]:
        """Without the times: the index has the times of the move."""
        return [(each["key"], each["count"], each["ids"], each["sample"]) for each in buried.json("dead")["groups"]]

    before = groups()
    with closing(sqlite3.connect(project / ".tasuki" / "queue.db")) as file, file:
        file.execute("UPDATE messages SET cause = NULL WHERE id = 'm-2'")
    assert groups() == before
    with closing(sqlite3.connect(project / ".tasuki" / "queue.db")) as file, file:
        file.execute("UPDATE messages SET cause = NULL")
    assert groups() == before
    assert len(buried.json("dead", "--of", before[0][0])["letters"]) == 2


def test_letters_that_a_redrive_holds_are_named(buried: CommandLine, project: Path) -> None:
    async def look() -> str:
        async with App.load(project) as app:
            dead = app._runtime.queue("app:dead")
            [held] = await dead.driver.receive(dead.spec.name, 1, 5.0)
            done = await asyncio.to_thread(buried, "dead")
            await dead.driver.settle(dead.spec.name, [Release(held.receipt)])
        assert done.stdout.endswith("2 dead letters (all but the held ones)\n")
        return done.stderr

    assert "not shown: queue 'app:dead': 1 more letter, held by a redrive or a consumer now" in asyncio.run(look())
    assert buried.json("dead")["held"] == {}


def test_one_letter_and_a_question(buried: CommandLine) -> None:
    [letter] = buried.json("dead", "--id", "m-1")["letters"]
    assert (letter["queue"], letter["dead"], letter["attempts"], letter["body"]) == (
        "app:tasks",
        "app:dead",
        3,
        {"n": 1},
    )
    [group] = buried.json("dead", "--where", "body.n > 1")["groups"]
    assert group["ids"] == ["m-2"]
    assert buried("dead", "--where", "attempts > 9").stdout == "no such dead letters\n"
    unclear = buried("dead", "--where", "body.n.x == 1")
    assert "3 letters not judged: --where cannot be asked about them: a number has no such field" in unclear.stderr
    wrong = buried("dead", "--where", "colour == 1")
    assert (wrong.returncode, "'colour' is not known" in wrong.stderr) == (2, True)


def test_secrets_are_masked_unless_they_are_asked_for(tasuki: CommandLine, project: Path) -> None:
    write_project(project, "def handle(body):\n    raise ValueError(str(body))\n")
    body = '{"password": {"old": "hunter2"}, "n": 1}'
    tasuki.json("publish", "tasks", body, "--id", "m-1", "--header", "Cookie=a=b; c=hunter2")
    assert "hunter2" not in tasuki("peek", "tasks").stdout
    assert "hunter2" not in tasuki("show", "m-1").stdout
    assert tasuki("run", "--until-empty").returncode == 0
    for command in (("peek", "dead"), ("show", "m-1"), ("dead",), ("dead", "--id", "m-1")):
        for json in ((), ("--json",)):
            shown = tasuki(*command, *json).stdout
            assert "hunter2" not in shown, (command, shown)
    for command in (("peek", "dead"), ("show", "m-1"), ("dead", "--id", "m-1")):
        assert '"password": {"old": "hunter2"}' in tasuki(*command, "--secrets").stdout.replace("\n", " ")
    assert tasuki.json("show", "m-1", "--secrets")["headers"]["Cookie"] == "a=b; c=hunter2"


def test_a_redrive_of_some(buried: CommandLine) -> None:
    dry = buried("redrive", "dead", "--where", "body.n < 2", "--dry-run")
    assert dry.stdout == "2 messages of app:dead would be sent back\n"
    unclear = buried("redrive", "dead", "--where", "body.n.x == 1", "--dry-run")
    assert "3 messages not judged: --where cannot be asked about them: a number has no such" in unclear.stderr
    done = buried("redrive", "dead", "--where", "body.n < 2", "--rate", "100")
    assert (done.returncode, done.stdout) == (0, "2 messages of app:dead sent back\n")
    assert "1 message stayed, not chosen" in done.stderr
    told = buried.json("redrive", "dead", "--id", "m-2")
    batch = told.pop("of_batch")
    assert told == {
        "queue": "app:dead", "to": None, "moved": 1, "stayed": 0, "delayed": 0, "is_chosen": True, "is_dry_run": False,
        "batch": batch["id"],
    }  # fmt: skip
    assert (batch["act"], batch["state"], batch["done"], batch["ids"], batch["can_undo"]) == (
        "retry",
        "done",
        1,
        1,
        True,
    )
    assert buried("redrive", "dead", "--where", "1 +").returncode == 2


def test_without_letters_and_without_a_dead_letter_queue(tasuki: CommandLine) -> None:
    assert tasuki("dead").stdout == "no dead letters\n"
    tasuki.json("publish", "tasks", "1")
    assert tasuki("dead", "dead").stdout == "no dead letters\n"
    assert tasuki("dead", "nothing").returncode != 0
    assert "tasuki dead" in tasuki("dlq").stderr


def test_queues_that_cannot_be_shown_are_named_beside_the_others(buried: CommandLine, project: Path) -> None:
    with (project / "_index.yaml").open("a") as file:
        file.write(MORE)
    done = buried("dead")
    assert (done.returncode, done.stdout[:27]) == (0, "2 x     ZeroDivisionError: ")
    assert done.stdout.endswith("3 dead letters (all in the queues that can be shown)\n")
    rabbit, private = done.stderr.splitlines()[-2:]
    assert rabbit.startswith("not shown: queue 'app:dead.rabbit': driver 'app:rabbit' at amqp://127.0.0.1:1")
    assert rabbit.endswith("tasuki redrive app:dead.rabbit sends letters back, also chosen ones (--where, --id)")
    assert private.startswith("not shown: queue 'app:dead.memory': it lives in the memory of the process")
    assert list(buried.json("dead")["unseen"]) == ["app:dead.rabbit", "app:dead.memory"]
    alone = buried("dead", "dead.rabbit")
    assert (alone.returncode, "driver 'app:rabbit' at amqp://127.0.0.1:1" in alone.stderr) == (4, True)
    memory = buried("dead", "-o", "app:driver:kind=queue.driver.memory", "-o", "app:rabbit:kind=queue.driver.memory")
    assert (memory.returncode, "it lives in the memory of the process" in memory.stderr) == (1, True)


def test_a_dry_run_says_when_it_asked_the_newest_only(buried: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "NEWEST", 2)
    monkeypatch.setattr(output, "is_terminal", lambda stream: True)
    dry = buried("redrive", "dead", "--dry-run")
    assert (dry.stdout, "redriving" in dry.stderr) == (
        "2 messages of app:dead would be sent back, of the newest 10,000, or 256 MiB\n",
        False,
    )
    assert buried("redrive", "dead", "--dry-run", "--limit", "1").stdout == "1 message of app:dead would be sent back\n"
    assert buried.json("redrive", "dead", "--dry-run", "--to", "tasks")["is_all"] is False
    by_type = buried("dead", "--group", "type").stdout
    assert by_type.endswith("2 dead letters (of the newest 10,000, or 256 MiB, of each queue)\n")
    counted = buried.json("dead")
    assert (counted["count"], counted["is_all"]) == (3, True)
    cause = counted["groups"][0]["key"]
    assert buried.json("dead", "--of", cause)["count"] == 2
    assert buried.json("dead", "--of", cause, "--where", "id == 'm-0' || id == 'm-2'")["count"] == 1


def test_each_letter_of_an_id_has_a_name(tasuki: CommandLine, project: Path) -> None:
    write_project(project, BROKEN)
    for number in (0, 1):
        tasuki.json("publish", "tasks", f'{{"n": {number}}}', "--id", "twin")
    assert tasuki("run", "--until-empty").returncode == 0
    letters = {each["name"]: each["body"]["n"] for each in tasuki.json("dead", "--id", "twin")["letters"]}
    assert sorted(letters.values()) == [0, 1]
    [name] = [name for name, number in letters.items() if number == 1]
    assert f"id      {name} from" in tasuki("dead", "tasks", "--id", "twin").stdout
    assert tasuki.json("redrive", "dead", "--id", name)["moved"] == 1
    [waiting] = tasuki.json("peek", "tasks")
    assert (waiting["id"], waiting["body"]) == ("twin", {"n": 1})
    [left] = tasuki.json("dead", "--id", "twin")["letters"]
    assert (left["name"], left["body"]) == ("twin", {"n": 0})
