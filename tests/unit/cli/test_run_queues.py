"""``run --queues``, ``--except`` and ``--concurrency``, and how shared workers are shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasuki import App
from tasuki.cli.commands.work import run
from tasuki.cli.project import Target
from tasuki.cli.worker.options import choose
from tasuki.cli.worker.running import summary
from tests.support.cli_project import lines_of, notes
from tests.unit.cli.conftest import CommandLine
from tests.unit.cli.test_main import FakeFleet

SECOND = """\
  - {name: more, kind: queue.queue, driver: driver}
  - {name: second, kind: queue.consumer, queue: more, func: handle, lifecycle: {auto_start: true}}
  - {name: pool, kind: queue.worker, queues: [more, tasks], concurrency: 2, order: strict}
"""


@pytest.fixture
def two(tasuki: CommandLine, project: Path) -> CommandLine:
    """A project of two consumed queues with one message each, and shared workers."""
    with (project / "_index.yaml").open("a") as file:
        file.write(SECOND)
    for queue in ("tasks", "more"):
        assert tasuki("publish", queue, "--file", "-", stdin=lines_of(queue)).returncode == 0
    return tasuki


@pytest.mark.parametrize(
    ("options", "handled"),
    [
        ([], ["more", "tasks"]),
        (["--queues", "tasks"], ["tasks"]),
        (["--queues", "app:more, tasks"], ["more", "tasks"]),
        (["--queues", "tasks", "--queues", "more", "--except", "tasks"], ["more"]),
        (["--except", "more"], ["tasks"]),
        (["--concurrency", "1"], ["more", "tasks"]),
        (["--queues", "more", "--concurrency", "8"], ["more"]),
    ],
)
def test_only_chosen_queues_are_consumed(
    two: CommandLine, project: Path, options: list[str], handled: list[str]
) -> None:
    done = two("run", "--until-empty", *options)
    assert (done.returncode, sorted(notes(project))) == (0, handled)
    left = {row["queue"]: row["ready"] for row in two.json("queues")}
    assert {queue for queue, ready in left.items() if ready} == {"app:tasks", "app:more"} - {
        f"app:{name}" for name in handled
    }


@pytest.mark.parametrize(
    ("options", "error"),
    [
        (["--queues", "taks"], "error: queue 'taks' is not defined; did you mean 'tasks'?"),
        (["--except", "moer"], "error: queue 'moer' is not defined; did you mean 'more'?"),
        (["--queues", "dead"], "queue 'app:dead' has no consumer to run; the project consumes: app:tasks, app:more"),
        (["--except", "tasks,more"], "no queue is left to consume; the project consumes: app:tasks, app:more"),
        (["--queues", ","], "--queues names no queue; name one, or leave the option out"),
        (["--concurrency", "0"], "0 is not in the range 1<=x<=1000"),
    ],
)
def test_a_choice_that_cannot_be_is_a_wrong_use(two: CommandLine, options: list[str], error: str) -> None:
    """Not a configuration error: the project is good, and other options would run it."""
    done = two("run", *options)
    assert (done.returncode, error in done.stderr) == (2, True), done.stderr


def test_the_summary_shows_the_choice(two: CommandLine, project: Path) -> None:
    app = App.load(project)
    whole = app.check()
    assert "app:consumer: app:tasks → app:handle, 1 at a time" in summary(Target("."), whole, 1)
    assert "  workers   app:pool: 2 at a time, strict, for app:more, app:tasks" in summary(Target("."), whole, 1)
    text = summary(Target("."), choose(app, ("more",), (), 5), 1)
    assert "app:second: app:more → app:handle, 5 at a time" in text
    assert "  workers   --concurrency: 5 at a time, fair, for app:more" in text
    assert "app:tasks" not in text


def test_a_child_consumes_what_its_parent_was_told(two: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "Fleet", FakeFleet)
    done = two("run", "--processes", "2", "--queues", "tasks,more", "--except", "more", "--concurrency", "4")
    assert done.returncode == 5
    chosen = ["--queues=tasks,more", "--except=more", "--concurrency=4"]
    assert [word for word in FakeFleet.command if word.startswith(("--queues", "--exc", "--conc"))] == chosen


def test_check_counts_shared_workers_and_graph_draws_them(two: CommandLine) -> None:
    assert two("check").stdout.startswith("ok: 8 entries, 3 queues, 2 consumers, 1 worker pool\n")
    edges = two.json("graph")["edges"]
    assert [edge["to"] for edge in edges if edge["from"] == "app:pool"] == ["app:consumer", "app:second"]
    assert {edge["what"] for edge in edges if edge["from"] == "app:pool"} == {"serves"}
    branches = "app:pool  queue.worker\n├─ serves → app:consumer\n└─ serves → app:second\n"
    assert branches in two("graph").stdout
    assert "-. serves .->" in two("graph", "--format", "mermaid").stdout
    assert 'style=dashed, label="serves"' in two("graph", "--format", "dot").stdout
