"""What people see on a terminal: colour, cut lines, progress bars, the summary of a worker."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from types import SimpleNamespace

import click
import pytest

from tasuki import App
from tasuki.cli import loop, output
from tasuki.cli.exits import show_error
from tasuki.cli.output import (
    age,
    bar,
    count,
    has_colour,
    is_terminal,
    print_json,
    print_table,
    print_text,
    print_wrapped,
)
from tasuki.cli.project import Target
from tasuki.cli.worker.running import follow_emptying, summary
from tasuki.errors import ConfigError, Position, ProjectError, TasukiError
from tests.support.cli_project import write_project
from tests.unit.cli.conftest import CommandLine


@pytest.fixture
def terminal(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Make every stream look like a terminal of 40 columns."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setattr(type(sys.stdout), "isatty", lambda stream: True)
    monkeypatch.setenv("COLUMNS", "40")


@pytest.mark.parametrize(
    ("seconds", "text"), [(None, None), (0, "0s"), (2.34, "2.3s"), (192.4, "3m12s"), (7200, "2h"), (-1, "0s")]
)
def test_ages(seconds: float | None, text: str | None) -> None:
    assert age(seconds) == text


def test_counts() -> None:
    assert (count(1, "message"), count(0, "message")) == ("1 message", "0 messages")


def test_a_table_is_aligned_and_safe(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("NAME", "COUNT", "REST"), [("a", 1, None), ("long\x1b[2J", 1000, "x")])
    assert capsys.readouterr().out.splitlines() == [
        "NAME         COUNT  REST",
        "a                1  -",
        "long\\x1b[2J   1000  x",
    ]


def test_a_table_of_wide_letters_is_aligned_and_cut(terminal: None, capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("QUEUE", "COUNT", "LAST"), [("app:メール", 1, "宛先" * 20), ("app:jobs", 1000, "x")])
    assert [click.unstyle(line) for line in capsys.readouterr().out.splitlines()] == [
        "QUEUE       COUNT  LAST",
        "app:メール      1  " + "宛先" * 5 + "…",
        "app:jobs     1000  x",
    ]


def test_json_is_safe_to_show_and_means_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    value = {"é\x9b31m": "\x1b[2J\x7f\u202e\u2028\ud800\ufeff\n"}
    print_json(value)
    shown = capsys.readouterr().out
    assert shown == '{"é\\u009b31m": "\\u001b[2J\\u007f\\u202e\\u2028\\ud800\\ufeff\\n"}\n'
    assert json.loads(shown) == value


def test_the_problems_of_a_wrong_folder_are_cut(capsys: pytest.CaptureFixture[str]) -> None:
    show_error(ProjectError([ConfigError(f"problem {number}") for number in range(1_200)]))
    *_, last, more, count = capsys.readouterr().err.splitlines()
    assert last == "problem 99"
    assert more == "… and 1,100 more; is this folder the project? name it with -p"
    assert count == "error: 1200 problems"


def test_an_error_keeps_its_lines_and_no_control_characters(capsys: pytest.CaptureFixture[str]) -> None:
    place = Position("a.yaml", 2, 3)
    show_error(ProjectError([ConfigError("x\x1b[2J", position=place, entry="app:a\x9b31m"), ConfigError("y")]))
    assert capsys.readouterr().err == "a.yaml:2:3: app:a\\x9b31m: x\\x1b[2J\ny\nerror: 2 problems\n"
    show_error(TasukiError("first\n\tsecond \x1b]0;title\x07"))
    assert capsys.readouterr().err == "error: first\n\tsecond \\x1b]0;title\\x07\n"


def test_a_text_is_left_alone_for_a_program(capsys: pytest.CaptureFixture[str]) -> None:
    print_text("a\x07")
    assert capsys.readouterr().out == "a\x07\n"


@pytest.mark.usefixtures("terminal")
def test_a_text_is_safe_on_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    print_text("a\x1b[2J\nb")
    assert capsys.readouterr().out == "a\\x1b[2J\nb\n"


@pytest.mark.usefixtures("terminal")
def test_a_terminal_has_colour_and_an_edge(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("NAME",), [("x" * 100,)])
    heading, row = capsys.readouterr().out.splitlines()
    assert heading == click.style("NAME", bold=True)
    assert row == "x" * 39 + "…"
    print_json({"a": [1]})
    assert capsys.readouterr().out == '{\n  "a": [\n    1\n  ]\n}\n'
    show_error(TasukiError("no"))
    assert "\x1b[31m" in capsys.readouterr().err


@pytest.mark.usefixtures("terminal")
def test_a_table_without_room_becomes_lines(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("QUEUE", "BODY"), [("app:a-queue-with-a-long-name", "x" * 50), ("b", None)])
    first, second, third, *rest = capsys.readouterr().out.splitlines()
    assert (first, second, third) == ("QUEUE  app:a-queue-with-a-long-name", "BODY   " + "x" * 50, "")
    assert rest == ["QUEUE  b", "BODY   -", ""]
    print_table(("QUEUE", "READY"), [("app:a-queue-with-a-long-name", 12)])
    assert capsys.readouterr().out.splitlines()[1] == "app:a-queue-with-a-long-name     12"


@pytest.mark.usefixtures("terminal")
def test_a_text_wraps_beside_its_word(capsys: pytest.CaptureFixture[str]) -> None:
    print_wrapped("ok", "one two three four five six seven eight nine\nten", indent=4)
    assert capsys.readouterr().out.splitlines() == [
        "ok  one two three four five six seven",
        "    eight nine",
        "    ten",
    ]


def test_a_text_does_not_wrap_for_a_program(capsys: pytest.CaptureFixture[str]) -> None:
    print_wrapped(click.style("ok", fg="green"), "x " * 100, indent=4)
    assert capsys.readouterr().out == "ok  " + "x " * 100 + "\n"


@pytest.mark.usefixtures("terminal")
def test_no_colour_is_respected(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    assert not has_colour(sys.stdout)
    show_error(TasukiError("no"))
    assert capsys.readouterr().err == "error: no\n"


def test_a_closed_stream_is_no_terminal() -> None:
    def isatty() -> bool:
        raise ValueError("closed")

    assert not is_terminal(SimpleNamespace(isatty=isatty))  # type: ignore[arg-type]


def test_json_of_what_json_does_not_know(capsys: pytest.CaptureFixture[str]) -> None:
    print_json([b"\xff", Path("x"), {1, 2} - {2}, object])
    assert capsys.readouterr().out == f'["/w==", "x", [1], "{object}"]\n'


def test_no_bar_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with bar(10, "working") as advance:
        advance(5)
    assert capsys.readouterr().err == ""


@pytest.mark.usefixtures("terminal")
def test_bars(capsys: pytest.CaptureFixture[str]) -> None:
    with bar(10, "working") as advance:
        advance(5)
        advance(10)
    assert "working" in capsys.readouterr().err
    with bar(1, "handling") as show:
        show(1, 4)
        show(6, 4)
    assert "100%" in capsys.readouterr().err


def test_a_run_on_a_terminal_says_what_runs(tasuki: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    tasuki("publish", "tasks", "1")
    monkeypatch.setattr(output, "is_terminal", lambda stream: True)
    monkeypatch.setattr(output, "is_terminal", lambda stream: True)
    monkeypatch.setattr("tasuki.cli.commands.work.run.is_terminal", lambda stream: True)
    done = tasuki("run", "--until-empty")
    assert done.returncode == 0
    assert "app:consumer: app:tasks → app:handle" in done.stderr
    assert "durability power" in done.stderr
    assert "handling" not in done.stderr  # a bar, which lines of the log would break
    assert "handling" in tasuki("run", "--until-empty", "--log-level", "warning").stderr


def test_the_summary(tasuki: CommandLine, project: Path) -> None:
    text = summary(Target("shop"), App.load(project).check(), 3)
    assert "shop, 3 processes" in text
    path = project / "_index.yaml"
    path.write_text(path.read_text().replace("auto_start: true, stop", "auto_start: false, stop"))
    assert "nothing will be handled" in summary(Target("."), App.load(project).check(), 1)


@pytest.mark.usefixtures("terminal")
def test_progress_of_emptying(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async def run() -> None:
        app = App.load(write_project(tmp_path, "def handle(): ...\n"))
        following = asyncio.create_task(follow_emptying(app, pause=0.01))
        await asyncio.sleep(0.03)
        async with app.worker():
            await app.publish("tasks", 1)
            while app._runtime.assembly is None or not app._runtime.assembly.consumers["app:consumer"].metrics.acked:
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.05)
        following.cancel()
        await asyncio.wait([following])

    loop.run(run())
    assert "handling" in capsys.readouterr().err
