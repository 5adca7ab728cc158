"""``tasuki top`` as its users start it: on a terminal of 80 columns and 24 lines, beside a real worker."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.cli_project import write_project
from tests.support.process import TASUKI, run, start, wait_until
from tests.support.tmux import Terminal, terminal

pytestmark = pytest.mark.e2e

HANDLER = """
def handle(body):
    if "bad" in body:
        raise ValueError(f"[red]cannot send {body['bad']}\\x1b[31m")
"""


def top(*options: str) -> list[str]:
    return [*TASUKI, "top", *options]


def dead_letters(folder: Path) -> str:
    return run("info", "dead", "--json", folder=folder).stdout


def test_a_dead_letter_is_found_read_and_retried(tmp_path: Path) -> None:
    folder = write_project(tmp_path, HANDLER)
    run("publish", "tasks", '{"bad": "日本"}', folder=folder)
    with start("run", folder=folder) as worker, terminal(top(), folder) as screen:
        worker.wait_for("running; stop with")
        screen.wait_for("DEAD 1")
        queues = screen.screen.splitlines()
        assert queues[0].startswith("tasuki  ")
        assert "lite .tasuki/queue.db" in queues[0]
        assert "1 Queues  2 Dead  3 Workers  4 Schedules  5 Batches" in queues[2]
        screen.press("3")
        screen.wait_for("app:consumer")

        screen.press("2")
        screen.wait_for("[red]cannot send 日本\\x1b[31m")
        screen.press("Enter")
        screen.wait_for("1 letter", beside="ValueError")
        screen.press("Enter")
        text = screen.wait_for("Why it does not run now")
        assert text.index("Last error") < text.index("Traceback")
        screen.press("r")
        screen.wait_for("Retry 1 letter of app:dead?  Enter: yes")
        screen.press("Enter")
        screen.wait_for("app:tasks")

        screen.press("1")
        screen.wait_for("app:dead")
        screen.resize(120, 30)
        assert len(screen.wait_for("LAST HOUR").splitlines()) == 30
        screen.press("q")
        screen.wait_for("ended 0")
        assert "keys are seen" in screen.wait_for("keys are")
        assert screen.is_restored


def test_a_letter_is_mended_in_the_editor(tmp_path: Path) -> None:
    folder = write_project(tmp_path, HANDLER)
    run("publish", "tasks", '{"bad": "x"}', folder=folder)
    with start("run", folder=folder), terminal(top(), folder, EDITOR="sed -i s/bad/good/") as screen:
        screen.wait_for("DEAD 1")
        screen.press("2")
        screen.wait_for("1 letter")
        screen.press("Enter")
        screen.wait_for("1 letter", beside="ValueError")
        screen.press("E")
        screen.wait_for("DEAD 0")
        assert "1 letter" not in screen.wait_for("have gone")
        screen.press("q")
        screen.wait_for("ended 0")
        assert screen.is_restored


@pytest.mark.parametrize("how", ["C-c", "TERM", "INT"])
def test_each_end_restores_the_terminal(tmp_path: Path, how: str) -> None:
    folder = write_project(tmp_path, HANDLER)
    with terminal(top(), folder) as screen:
        screen.wait_for("1 Queues")
        if how == "C-c":
            screen.press("C-c")
        else:
            os.kill(process_in(screen), getattr(signal, f"SIG{how}"))
        screen.wait_for("ended ")
        wait_until(lambda: screen.is_restored, "the terminal as it was")
        assert "keys are seen" in screen.wait_for("keys are")
        assert "Traceback" not in screen.screen


def process_in(screen: Terminal) -> int:
    """The number of ``tasuki top``: the child of the shell."""
    shell = screen.tmux("display-message", "-p", "#{pane_pid}").strip()
    return int(Path(f"/proc/{shell}/task/{shell}/children").read_text().split()[0])


def test_a_broker_that_is_away_is_named_and_keys_work(tmp_path: Path) -> None:
    folder = write_project(tmp_path, HANDLER)
    project = (folder / "_index.yaml").read_text()
    project = project.replace("kind: queue.driver.sqlite", "kind: queue.driver.redis\n    url: redis://127.0.0.1:1/0")
    (folder / "_index.yaml").write_text(project)

    with terminal(top("--ascii"), folder, NO_COLOR="1") as screen:
        screen.wait_for("127.0.0.1:1: it cannot be reached")
        screen.press("?")
        screen.wait_for("Keys > Queues")
        assert screen.screen.isascii()
        screen.press("Escape")
        screen.wait_for("1 Queues")
        screen.press("q")
        screen.wait_for("ended 0")
        assert "cannot start" in screen.screen  # the log of that time


def test_without_a_terminal_it_prints_the_queues_once(tmp_path: Path) -> None:
    folder = write_project(tmp_path, HANDLER)
    run("publish", "tasks", "1", folder=folder)

    done = run("top", folder=folder)

    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0].split() == [
        "QUEUE", "READY", "RUN", "DELAY", "DEAD", "OLDEST", "WORKERS", "DRIVER",
    ]  # fmt: skip
    assert done.stdout.splitlines()[1].split()[:2] == ["app:tasks", "1"]


def test_without_the_extra_it_names_it(tmp_path: Path) -> None:
    folder = write_project(tmp_path, HANDLER)
    hidden = "import sys; sys.modules['textual'] = None; from tasuki.cli import main; sys.exit(main(['top']))"

    with terminal([sys.executable, "-c", hidden], folder) as screen:
        screen.wait_for("pip install 'tasuki[top]'")
        assert "ended 1" in screen.wait_for("ended ")


def test_it_needs_no_web_framework_and_the_table_no_textual() -> None:
    code = (
        "import sys, tasuki.top.running, tasuki.desk.acts.acts; "
        "print([name for name in ('starlette', 'jinja2', 'uvicorn', 'textual', 'rich') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"
