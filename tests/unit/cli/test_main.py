"""How command lines end: exit codes, errors as one message, broken pipes, interrupts."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest

import tasuki.cli
from tasuki import App
from tasuki.cli import main
from tasuki.cli.commands.queues import queues, removal
from tasuki.cli.commands.queues.queues import _waiting
from tasuki.cli.commands.work import run
from tasuki.cli.exits import CommandError, exit_code_of
from tasuki.cli.group import COMMANDS
from tasuki.errors import (
    BrokerTimeoutError,
    BrokerUnavailableError,
    ConfigError,
    LifecycleError,
    ProjectError,
    StopTimeoutError,
    TasukiError,
)
from tasuki.state.worker_record import Presence, PresentConsumer, encode
from tests.support.cli_project import write_project
from tests.unit.cli.conftest import CommandLine


def caused_by(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (TasukiError("x"), 1),
        (CommandError("x", code=3), 3),
        (ConfigError("x"), 3),
        (ProjectError([]), 3),
        (BrokerUnavailableError("x"), 4),
        (BrokerTimeoutError("x"), 4),
        (StopTimeoutError("x"), 5),
        (caused_by(LifecycleError("x"), BrokerUnavailableError("y")), 4),
        (caused_by(CommandError("x"), BrokerUnavailableError("y")), 1),
    ],
)
def test_exit_codes(error: Exception, code: int) -> None:
    assert exit_code_of(error) == code


def test_an_error_that_is_its_own_cause_ends_the_command() -> None:
    error = LifecycleError("x")
    error.__cause__ = cause = TasukiError("y")
    cause.__cause__ = error
    assert exit_code_of(error) == 1


def failing(error: BaseException) -> click.Command:
    def fail(**_: Any) -> None:
        raise error

    return click.Command("info", callback=fail)


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (TasukiError("amqp://user:secret@host is unavailable"), 1, "error: amqp://user:***@host is unavailable\n"),
        (KeyboardInterrupt(), 130, "\n"),
        (click.Abort(), 130, ""),
        (BrokenPipeError(), 141, ""),
        (click.ClickException("wrong"), 1, "Error: wrong\n"),
    ],
)
def test_errors_are_one_message(
    tasuki: CommandLine, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int, said: str
) -> None:
    monkeypatch.setattr(queues, "info_command", failing(error))
    done = tasuki("info")
    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr == said


def test_a_defect_is_not_hidden(tasuki: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queues, "info_command", failing(ZeroDivisionError()))
    with pytest.raises(ZeroDivisionError):
        tasuki("info")


def test_help_and_version(tasuki: CommandLine) -> None:
    shown = tasuki("--help").stdout
    for name in COMMANDS:
        assert f"\n  {name} " in shown
        assert tasuki(name, "--help").returncode == 0
    assert tasuki("--version").stdout.startswith("tasuki ")
    assert "Did you mean 'publish'?" in tasuki("pubish").stderr


def test_stdout_that_nobody_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        assert tasuki.cli.main(["schema"]) == 141
    monkeypatch.undo()


def test_stdout_without_a_descriptor(monkeypatch: pytest.MonkeyPatch) -> None:
    class Closed:
        def write(self, text: str) -> int:
            raise BrokenPipeError

        def flush(self) -> None: ...

        def fileno(self) -> int:
            raise ValueError("no descriptor")

    monkeypatch.setattr(sys, "stdout", Closed())
    assert tasuki.cli.main(["schema"]) == 141


def test_a_question_that_a_person_interrupts(tasuki: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(removal, "is_terminal", lambda stream: True)
    tasuki("publish", "tasks", "1")
    assert tasuki("purge", "tasks").returncode == 130


SIGNALS = """
from tasuki import Reject, Retry
from tasuki.errors import CodecError

def handle(kind):
    raise {"retry": Retry("later"), "reject": Reject(), "ours": CodecError("a codec"), "theirs": OSError()}[kind]
"""


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("retry", "requests another attempt: later"),
        ("reject", "rejects the call: "),
        ("ours", "error: a codec"),
        ("theirs", "raised OSError (handlers.py:"),
    ],
)
def test_functions_that_do_not_return(tasuki: CommandLine, project: Path, kind: str, said: str) -> None:
    write_project(project, SIGNALS)
    done = tasuki("call", "handle", kind)
    assert done.returncode == 1
    assert said in done.stderr.replace(str(project) + os.sep, "")


def test_results_for_people(tasuki: CommandLine, project: Path) -> None:
    write_project(project, "def handle(body): return body\n")
    assert tasuki("call", "handle", "plain text").stdout == "plain text\n"
    assert tasuki("call", "handle", '{"a": [1, null]}').stdout == '{"a": [1, null]}\n'
    assert tasuki("call", "handle", "null").stdout == ""
    assert "is not defined" in tasuki("call", "nothing").stderr


_COUNTS = ("message_count", "ready", "in_flight", "delayed", "oldest_age")


def test_people_see_tables(tasuki: CommandLine) -> None:
    for command in ("peek", "info", "purge", "delete"):
        assert "queue 'app:tasks' does not exist at its broker: a worker makes it" in tasuki(command, "tasks").stderr
    assert tasuki.json("queues")[0] == {"queue": "app:tasks", "driver": "app:driver", **dict.fromkeys(_COUNTS)}
    assert tasuki("run", "--until-empty").returncode == 0
    assert "app:tasks has no waiting messages" in tasuki("peek", "tasks").stdout
    tasuki("publish", "tasks", '{"n": 1}', "--header", "a=b")
    tasuki("publish", "tasks", "--raw", "bytes", "-", stdin=b"not json")
    shown = tasuki("queues")
    assert "MESSAGES" in shown.stdout
    assert shown.stderr == "no worker consumes app:tasks; start one: tasuki run\n"
    assert [row.get("waits_for_worker") for row in tasuki.json("queues")] == [True, None]
    assert "message_count   2" in tasuki("info", "tasks").stdout
    assert '{"n": 1}' in tasuki("peek", "tasks").stdout
    assert len(tasuki.json("peek", "tasks", "--limit", "1")) == 1


def test_delayed_messages_wait_for_a_worker_too(tasuki: CommandLine) -> None:
    tasuki("publish", "tasks", '{"n": 1}', "--delay", "1h")
    assert tasuki("queues").stderr == "no worker consumes app:tasks; start one: tasuki run\n"


def test_a_silent_worker_does_not_hide_that_no_worker_consumes() -> None:
    """A killed one is named for 15 minutes; what waits needs a new one now."""
    waits = {"queue": "app:tasks", "ready": 1, "consumer_count": 0, "alarms": ["vm:7 has been silent for 20s"]}
    assert _waiting(waits, set(), {"app:tasks"}) == {"alarms": waits["alarms"], "waits_for_worker": True}
    assert _waiting({**waits, "consumer_count": 1}, set(), {"app:tasks"}) == {"alarms": waits["alarms"]}


def test_a_queue_without_a_consumer_waits_for_a_declaration(tasuki: CommandLine) -> None:
    """``tasuki run`` would consume nothing from it."""
    with (tasuki.folder / "_index.yaml").open("a") as file:
        file.write("  - {name: alone, kind: queue.queue, driver: driver}\n")
    tasuki("publish", "alone", "1")
    assert tasuki("queues").stderr == "no consumer of this project consumes app:alone; declare one\n"
    assert [row["queue"] for row in tasuki.json("queues") if row.get("waits_for_consumer")] == ["app:alone"]


def test_workers_of_another_project_on_the_store_are_not_listed(tasuki: CommandLine) -> None:
    tasuki("publish", "tasks", "1")

    async def sign() -> None:
        async with App.load(tasuki.folder) as app:
            state = app._runtime.live().state_of("app:tasks")
            assert state is not None
            store = await state.store()
            now = await store.time()
            for pid, queue, ago in ((1, "app:tasks", 1), (2, "others", 1), (3, "app:tasks", 60), (4, "others", 60)):
                name = app._runtime.live().queues[queue].spec.name if queue == "app:tasks" else queue
                consumers = [PresentConsumer("app:consumer", name, "app:driver", 1)]
                worker = Presence("web", pid, "1", now - 90, now - ago, consumers)
                await store.put(worker.key, encode(worker))

    asyncio.run(sign())
    assert [row["pid"] for row in tasuki.json("workers")] == [1]
    told = tasuki("workers").stderr
    assert "web:3 has been silent for 1m" in told
    assert "web:4" not in told
    assert "worker web:1 " not in tasuki("queues").stderr
    assert "worker web:3 has been silent for 1m" in tasuki("queues").stderr, "one that is frozen may consume again"


def test_letters_that_belong_nowhere_stay(tasuki: CommandLine) -> None:
    tasuki("publish", "dead", "1")
    done = tasuki("redrive", "dead")
    assert done.returncode == 0
    assert "0 messages" in done.stdout
    assert "use --to" in done.stderr


def test_no_tests(tasuki: CommandLine) -> None:
    assert "no tests" in tasuki("test").stdout
    assert tasuki.json("test") == []


def test_nothing_to_measure(tasuki: CommandLine, project: Path) -> None:
    (project / "_index.yaml").write_text("version: '1.0'\nnamespace: app\nentries: []\n")
    assert tasuki("bench").returncode == 1
    assert tasuki("queues").returncode == 0


class FakeFleet:
    """Stands for the processes."""

    command: list[str]

    def __init__(self, arguments: Callable[[int], list[str]], count: int, *, ends_when_done: bool, **_: object) -> None:
        type(self).command = [*arguments(9), str(count), str(ends_when_done)]

    async def run(self) -> int:
        return 5


def test_several_processes(tasuki: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "Fleet", FakeFleet)
    done = tasuki("run", "--processes", "2", "--until-empty", "--log-level", "error", "--log-format", "text")
    assert done.returncode == 5
    options = FakeFleet.command[FakeFleet.command.index("run") + 1 : -2]
    assert sorted(options) == ["--lifeline=9", "--log-format=text", "--log-level=error", "--until-empty"]
    assert FakeFleet.command[-2:] == ["2", "True"]


class FakeWatcher:
    """Wants a new process at once."""

    wants_restart = True

    def __init__(self, target: object) -> None: ...

    async def run(self, app: object) -> None: ...

    async def hang_up(self, app: object) -> None: ...


def test_a_restart_after_a_change(tasuki: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    restarts: list[bool] = []
    monkeypatch.setattr(run, "Watcher", FakeWatcher)
    monkeypatch.setattr(run, "restart", lambda: restarts.append(True))
    assert tasuki("run", "--reload", "--until-empty").returncode == 0
    assert restarts == [True]


def test_a_child_is_on_its_lifeline(tasuki: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    lifelines: list[int] = []
    monkeypatch.setattr(run, "follow_parent", lifelines.append)
    assert tasuki("run", "--lifeline", "9", "--until-empty").returncode == 0
    assert lifelines == [9]


HANGING = """
import asyncio, os, signal
async def handle():
    {signals}
    await asyncio.sleep(600)
"""


@pytest.mark.parametrize(
    ("numbers", "code"), [(["SIGTERM"], 5), (["SIGTERM", "SIGTERM"], 5), (["SIGTERM", "SIGINT"], 130)]
)
def test_stops_that_come_late(tasuki: CommandLine, project: Path, numbers: list[str], code: int) -> None:
    sent = "".join(f"os.kill(os.getpid(), signal.{number}); await asyncio.sleep(0);" for number in numbers)
    write_project(project, HANGING.format(signals=sent), stop_timeout="300ms" if code == 5 else "1h")
    tasuki("publish", "tasks", "1")
    done = tasuki("run")
    assert done.returncode == code
    assert "stop_timeout" in done.stderr
    assert tasuki.json("info", "tasks")["ready"] == 1


def test_a_clean_drain(tasuki: CommandLine, project: Path) -> None:
    write_project(project, "import os, signal\ndef handle(): os.kill(os.getpid(), signal.SIGTERM)\n")
    tasuki("publish", "tasks", "1")
    assert tasuki("run").returncode == 0
    assert tasuki.json("info", "tasks")["message_count"] == 0


def test_dev_follows_the_source(tasuki: CommandLine, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    restarts: list[bool] = []
    monkeypatch.setattr(run, "Watcher", FakeWatcher)
    monkeypatch.setattr(run, "restart", lambda: restarts.append(True))
    write_project(project, "import os, signal\ndef handle(): os.kill(os.getpid(), signal.SIGTERM)\n")
    tasuki("publish", "tasks", "1")
    done = tasuki("dev", "--no-desk")
    assert done.returncode == 0
    assert "  desk      none\n" in done.stderr
    assert f"  driver    app:driver (queue.driver.sqlite) in {project}/.tasuki/queue.db\n" in done.stderr
    assert "  consumer  app:consumer: app:tasks → app:handle" in done.stderr
    assert restarts == []  # a signal ended it


@pytest.mark.parametrize(
    ("shell", "words", "number", "completions"),
    [("bash", "tasuki pub", 1, ["plain,publish"]), ("bash", "tasuki graph --format m", 3, ["plain,mermaid"])],
)
def test_words_complete_in_the_shell(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    shell: str,
    words: str,
    number: int,
    completions: list[str],
) -> None:
    for name, value in (("_TASUKI_COMPLETE", f"{shell}_complete"), ("COMP_WORDS", words), ("COMP_CWORD", str(number))):
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as ended:
        main([])
    assert (ended.value.code, capsys.readouterr().out.splitlines()) == (0, completions)


@pytest.mark.parametrize(
    ("name", "near"),
    [("frobnicate", ""), ("purg", ""), ("delet", ""), ("remov", ""), ("pausee", "'pause'"), ("publsh", "'publish'")],
)
def test_an_unknown_command_is_never_taken_for_one_that_removes_messages(
    name: str, near: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert tasuki.cli.main([name]) == 2
    said = capsys.readouterr().err
    assert f"No such command {name!r}." in said
    assert "'purge'" not in said
    assert "'delete'" not in said
    assert "'remove'" not in said
    if hasattr(click.exceptions, "NoSuchCommand"):  # older ones suggest nothing
        assert near in said
