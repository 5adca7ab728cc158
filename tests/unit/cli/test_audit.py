"""``tasuki audit``: the acts of the command line are kept."""

from __future__ import annotations

from pathlib import Path

from tasuki.system.process import user_and_host
from tests.support.cli_project import write_project
from tests.unit.cli.conftest import CommandLine


def test_acts_of_the_command_line_are_kept(tasuki: CommandLine, project: Path) -> None:
    write_project(project, "def handle(body):\n    1 / 0\n")
    empty = tasuki("audit")
    assert (empty.returncode, empty.stderr) == (0, "nothing was changed here yet\n")
    for number in range(3):
        tasuki("publish", "tasks", f"{number}", "--id", f"m-{number}")

    tasuki("pause", "tasks", "--reason", "a test")
    tasuki("resume", "tasks")
    tasuki("scale", "consumer", "3")
    tasuki("scale", "consumer", "--reset")
    tasuki("cancel", "m-0")
    tasuki("remove", "tasks", "m-1", "--yes")
    tasuki("run", "--until-empty")
    tasuki("redrive", "dead", "--where", "queue == 'app:tasks'")
    tasuki("purge", "tasks", stdin="n\n")
    tasuki("purge", "tasks", "--yes")
    tasuki("delete", "dead", "--yes")

    found = tasuki.json("audit")
    assert [(each["act"], each["target"], each["filter"], each["count"], each["result"]) for each in found] == [
        ("delete", "app:dead", "", 0, "done"),
        ("purge", "app:tasks", "", 1, "done"),
        ("redrive", "app:dead", "queue == 'app:tasks'", 1, "done"),
        ("remove", "app:tasks", "id:m-1", 1, "done"),
        ("cancel", "*", "id:m-0", 1, "waiting"),
        ("scale", "app:consumer", "", None, "reset"),
        ("scale", "app:consumer", "", None, "to 3 in each process"),
        ("resume", "app:tasks", "", None, "done"),
        ("pause", "app:tasks", "", None, "done"),
    ]
    assert {(each["actor"], each["from"]) for each in found} == {(user_and_host(), "command line")}
    assert {each["act"] for each in found if each["batch"]} == {"redrive"}
    lines = tasuki("audit").stdout.splitlines()
    assert lines[0].split() == [
        "TIME",
        "ACTOR",
        "FROM",
        "ACT",
        "OPTIONS",
        "TARGET",
        "FILTER",
        "COUNT",
        "RESULT",
        "BATCH",
    ]
    assert "delete" in lines[-1]
    assert [each["act"] for each in tasuki.json("audit", "-n", "1")] == ["delete"]


def test_an_act_that_fails_is_kept(tasuki: CommandLine) -> None:
    tasuki("publish", "tasks", "1")

    done = tasuki("pause", "tasks", "--for", "soon")

    assert done.returncode != 0
    [found] = tasuki.json("audit")
    assert found["result"].startswith("failed: 'soon' is not a duration")
    assert found["options"] == "for soon"


RIGHTS = """\
  - name: security
    kind: security.config
    strict: true
    application: {actor: {id: cli}, policies: [pauses%s]}
  - name: pauses
    kind: security.policy
    policy: {actions: "queue.pause.*", resources: "*", effect: allow}
  - name: audits_tasks
    kind: security.policy
    policy: {actions: queue.admin.audit, resources: "app:tasks", effect: allow}
"""


def test_the_audit_needs_its_right_on_what_an_act_was_done_to(tasuki: CommandLine, project: Path) -> None:
    plain = (project / "_index.yaml").read_text()
    tasuki("publish", "tasks", "1")
    tasuki("pause", "tasks")
    tasuki("pause", "dead")
    assert len(tasuki.json("audit")) == 2

    (project / "_index.yaml").write_text(plain + RIGHTS % "")
    refused = tasuki("audit")
    assert refused.returncode != 0
    assert "no policy allows queue.admin.audit" in refused.stderr

    (project / "_index.yaml").write_text(plain + RIGHTS % ", audits_tasks")
    assert [each["target"] for each in tasuki.json("audit")] == ["app:tasks"]
