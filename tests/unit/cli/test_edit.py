"""``tasuki edit``: with options, and in an editor."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.cli_project import write_project
from tests.unit.cli.conftest import CommandLine

HANDLER = """
from dataclasses import dataclass

@dataclass
class Order:
    n: int
    price: float = 1.0

def handle(order: Order):
    if order.n == 0:
        raise LookupError("no order")
"""
BODY = '{"n":0,"price":1.10}'


@pytest.fixture
def buried(tasuki: CommandLine, project: Path) -> CommandLine:
    write_project(project, HANDLER)
    tasuki.json("publish", "tasks", BODY, "--id", "m-0", "--header", "tenant=acme", "--header", "n=1")
    assert tasuki("run", "--until-empty").returncode == 0
    return tasuki


def use_editor(monkeypatch: pytest.MonkeyPatch, folder: Path, *rounds: str) -> Path:
    """An editor that runs one of these Python texts each time, on ``text``; returns the file with what it was shown."""
    log, script = folder / "shown.txt", folder / "editor.py"
    script.write_text(
        "import pathlib, sys\n"
        f"log, file = pathlib.Path({str(log)!r}), pathlib.Path(sys.argv[1])\n"
        "text = file.read_text()\n"
        "before = log.read_text() if log.exists() else ''\n"
        "log.write_text(before + text + '\\0')\n"
        f"exec({rounds!r}[before.count(chr(0))])\n"
        "file.write_text(text)\n"
    )
    monkeypatch.setenv("VISUAL", f"{shlex.quote(sys.executable)} {shlex.quote(str(script))}")
    return log


def waiting(tasuki: CommandLine, queue: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = tasuki.json("peek", queue)
    return found


def test_options_change_the_message_and_the_rest_stays(buried: CommandLine) -> None:
    done = buried.json("edit", "dead", "m-0", "--body", '{"n": 2, "price": 1.10}', "--header",
                       "n=two", "--without-header", "tenant")  # fmt: skip
    assert waiting(buried, "dead") == []
    [message] = waiting(buried, "tasks")
    assert (message["id"], message["body"]) == (done["id"], {"n": 2, "price": 1.1})
    assert message["headers"]["n"] == "two"
    assert "tenant" not in message["headers"]
    assert message["headers"]["x_edited_from"] == "m-0" == done["edited_from"]
    assert buried("run", "--until-empty").returncode == 0
    assert waiting(buried, "dead") == []


def test_an_edit_is_undone(buried: CommandLine) -> None:
    done = buried("edit", "dead", "m-0", "--body", '{"n": 2}')
    undo = done.stderr.strip().removeprefix("undo it within 15 minutes: tasuki ").split()
    assert buried(*undo).stdout.startswith("message m-0 is back in app:dead; ")
    assert [message["id"] for message in waiting(buried, "dead")] == ["m-0"]
    assert waiting(buried, "tasks") == []
    done = buried(*undo)
    assert (done.returncode, "cannot be undone" in done.stderr) == (1, True)
    assert buried(*undo, "--keep").returncode == 2


def test_a_file_and_a_kept_message(buried: CommandLine, project: Path) -> None:
    (project / "body.json").write_text('{"n": 3}')
    done = buried("edit", "dead", "m-0", "--file", "body.json", "--keep", "--header", "priority=3")
    assert done.returncode == 0, done.stderr
    assert "the old one stays there too" in done.stdout
    assert "careful: priority: it changes when" in done.stderr
    assert [message["id"] for message in waiting(buried, "dead")] == ["m-0"]
    (project / "body.json").write_bytes(b"\xff")
    done = buried("edit", "dead", "m-0", "--file", "body.json")
    assert (done.returncode, "must be UTF-8" in done.stderr) == (1, True)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--body", '{"n": "x"}'], "body, line 1: app:handle: Expected `int`, got `str`"),
        (["--body", "{"], "it is no JSON: it ends too early"),
        (["--header", "attempts=1"], "header.attempts: only Tasuki sets it"),
        (["--header", "X_Cause=1"], "header.X_Cause: only Tasuki sets it"),
        (["--header", "a\nb=1"], "printable characters"),
    ],
)
def test_what_is_not_valid_is_refused_and_stays(buried: CommandLine, options: list[str], says: str) -> None:
    done = buried("edit", "dead", "m-0", *options)
    assert done.returncode == 1
    assert says in done.stderr
    assert "nothing was sent, and the message stays where it is" in done.stderr
    assert [message["id"] for message in waiting(buried, "dead")] == ["m-0"]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--body", "1", "--file", "x"], "not both"),
        (["--undo", "--dry-run"], "leave out the other options"),
        (["--undo", "--header", "n=1"], "leave out the other options"),
    ],
)
def test_options_that_do_not_go_together(tasuki: CommandLine, options: list[str], says: str) -> None:
    done = tasuki("edit", "dead", "a", *options)
    assert (done.returncode, says in done.stderr) == (2, True), done.stderr


def test_a_message_that_is_not_there(buried: CommandLine) -> None:
    done = buried("edit", "dead", "m-1", "--body", "1")
    assert (done.returncode, "no message 'm-1' waits in app:dead" in done.stderr) == (1, True)


def test_a_dry_run_of_an_edit_checks_alone(buried: CommandLine) -> None:
    done = buried("edit", "dead", "m-0", "--dry-run", "--body", '{"n": 1}')
    assert done.stdout == "message m-0 of app:dead would go to app:tasks: it is valid\n"
    assert [message["id"] for message in waiting(buried, "dead")] == ["m-0"]


def test_errors_come_back_into_the_editor_above_their_lines(
    buried: CommandLine, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = use_editor(
        monkeypatch,
        project,
        """text = text.replace('"n": 0', '"n": "x"').replace('tenant: "acme"', 'tenant: acme')""",
        """text = text.replace('tenant: acme', 'tenant: "b"')""",
        """text = text.replace('"n": "x"', '"n": 7')""",
    )
    done = buried("edit", "dead", "m-0")
    assert done.returncode == 0, done.stderr
    first, second, third, _ = log.read_text().split("\0")
    assert first.startswith("#! Message m-0 of app:dead, which goes to app:tasks")
    assert "#!   x_last_error: LookupError: no order\n" in first
    assert '"price": 1.1' in first
    assert '\n#! ERROR: its value is no JSON: put a text into quotes, as in tenant: "acme"\ntenant: acme\n' in second
    assert '#! ERROR: app:handle: Expected `int`, got `str` - at `$.n`\n  "n": "x"' in third
    [message] = waiting(buried, "tasks")
    assert message["body"] == {"n": 7, "price": 1.1}
    assert message["headers"]["tenant"] == "b"


def test_leaving_the_editor_without_a_change_changes_nothing(
    buried: CommandLine, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for text in ("pass", "text = ''", "text = text.replace('1.1', '[')"):
        (project / "shown.txt").unlink(missing_ok=True)
        use_editor(monkeypatch, project, text, "pass")
        done = buried("edit", "dead", "m-0")
        assert done.returncode == 1
        assert "the message stays where it is" in done.stderr
    assert "ends too early" in done.stderr or "invalid character" in done.stderr
    assert [message["id"] for message in waiting(buried, "dead")] == ["m-0"]


def test_files_and_editors_that_cannot_be_opened(buried: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VISUAL", "false")
    for options, says in (["--file", "/no/such"], "cannot read the file"), ([], "name an editor in VISUAL"):
        done = buried("edit", "dead", "m-0", *options)
        assert (done.returncode, says in done.stderr) == (1, True), done.stderr
        assert "error: nothing was sent, and the message stays where it is: " in done.stderr
        assert "Traceback" not in done.stderr
