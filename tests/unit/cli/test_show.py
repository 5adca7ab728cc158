"""``tasuki show``: a message by its id, and a dead letter as a test."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import pytest

from tasuki.contracts.driver import Capabilities
from tasuki.dead.test_case import as_test
from tasuki.drivers.sqlite.driver import SQLiteDriver
from tasuki.message import HeaderValue, Message
from tasuki.queues.messages.codec import BytesCodec, JsonCodec
from tasuki.testing import TestApp
from tests.support.cli_project import write_project
from tests.unit.cli.conftest import CommandLine

BROKEN = "def handle(body):\n    return 1 / body['n']\n"
MENDED = "def handle(body):\n    return 1 / (body['n'] or 1)\n"


def run_source(source: str, target: Path) -> TestApp:
    """Run the one test in a source, with a twin of a project."""
    names: dict[str, Any] = {}
    exec(compile(source, "test_it.py", "exec"), names)
    [test] = [value for name, value in names.items() if name.startswith("test_")]
    with TestApp(target) as twin:
        test(twin)
    return twin


def test_a_dead_letter_becomes_a_test(tasuki: CommandLine, project: Path) -> None:
    write_project(project, BROKEN)
    tasuki.json("publish", "tasks", '{"n": 0, "text": "' + "long " * 30 + '"}', "--header", "tenant=a", "--id", "m-1")
    assert tasuki("run", "--until-empty").returncode == 0

    shown = tasuki.json("show", "m-1")
    assert (shown["queue"], shown["body"]["n"]) == ("app:dead", 0)
    pairs, *attempts = tasuki("show", "m-1").stdout.split("\n\n")
    assert "x_last_error" in pairs
    assert "x_last_traceback" not in pairs
    assert "\nx_attempts" not in pairs
    heads, tracebacks = zip(*(each.split("\n", 1) for each in attempts), strict=True)
    assert [head.partition(":")[0] for head in heads] == ["attempt 1", "attempt 2", "attempt 3"]
    assert all(head.endswith(" at handlers.py:handle") for head in heads)
    lines = tracebacks[-1].splitlines()
    assert [line.split(",")[-1] for line in lines if line.startswith("    File ")] == [" in handle"]
    assert lines[-1] == "  ZeroDivisionError: division by zero"
    assert textwrap.indent(shown["headers"]["x_last_traceback"], "  ") == tracebacks[-1].rstrip("\n")
    assert [each["attempt"] for each in shown["attempts"]] == [1, 2, 3]
    peeked = tasuki("peek", "dead").stdout
    assert "x_last_traceback" not in peeked
    assert "x_attempts=" not in peeked
    one = tasuki("dead", "dead", "--id", "m-1").stdout
    assert one.count("attempt ") >= 3
    assert "  ZeroDivisionError: division by zero" in one
    source = tasuki("show", "m-1", "--as-test").stdout

    assert "max_attempts after 3 attempts: ZeroDivisionError: division by zero." in source
    assert max(map(len, source.splitlines())) <= 120
    run_source(source, project)
    write_project(project, MENDED)
    with pytest.raises(AssertionError):
        run_source(source, project)


def test_a_message_that_is_not_there(tasuki: CommandLine) -> None:
    tasuki.json("publish", "tasks", "1")
    done = tasuki("show", "m-1")
    assert done.returncode == 1
    assert "no waiting message 'm-1' in app:tasks, app:dead" in done.stderr
    assert tasuki("show", "m-1", "--json", "--as-test").returncode == 2


def test_queues_that_cannot_be_looked_into_are_named(tasuki: CommandLine) -> None:
    private = tasuki("show", "m-1", "-o", "app:driver:kind=queue.driver.memory")
    mute = tasuki("show", "m-1", "-o", "app:driver:kind=queue.driver.amqp")

    text = "in any queue; not searched, as they are in the memory of another process: app:tasks, app:dead"
    assert text in private.stderr
    text = "not searched, as their brokers show no waiting messages: app:tasks, app:dead (for dead letters: tasuki dead"
    assert f"{text} --id m-1)" in mute.stderr


def test_a_peek_where_the_broker_shows_nothing_names_what_does(
    tasuki: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    able: Capabilities = SQLiteDriver.capabilities
    tasuki.json("publish", "tasks", "1")
    monkeypatch.setattr(SQLiteDriver, "capabilities", able.without("peek"))
    done = tasuki("peek", "tasks")
    assert (done.returncode, done.stdout) == (1, "")
    assert "queue 'app:tasks': its broker shows no waiting messages; 'tasuki info' counts them, and" in done.stderr


def test_the_source_carries_what_the_publisher_gave_and_no_more() -> None:
    headers: dict[str, HeaderValue] = {
        "timestamp": 1, "reply_to": "app:replies", "correlation_id": "c", "content_type": "application/octet-stream",
        "priority": 7, "partition_key": "k", "tenant": "a", "x_original_queue": "app:tasks", "attempts": 2,
        "x_dead_letter_reason": "rejected", "x_last_error": 'a """ quote\nand a line \\ \x1b',
    }  # fmt: skip
    source = as_test(Message("m/1-é", b"\x00", headers), b"\x00", "app:dead", BytesCodec())

    names: dict[str, Any] = {}
    exec(compile(source, "test_it.py", "exec"), names)
    assert "test_message_m_1_é" in names
    call = "".join(line.strip() for line in source.partition("publish(")[2].partition("advance")[0].splitlines())
    given = "headers={'tenant': 'a', 'content_type': 'application/octet-stream'}"
    assert call.startswith(rf"'app:tasks',b'\x00',{given},priority=7,key='k'")
    assert as_test(Message("m", b"1", {}), 1, "app:tasks", JsonCodec()).count("publish('app:tasks', 1)") == 1


def test_a_body_that_cannot_be_read_cannot_be_read_in_the_test(project: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_project(project, MENDED)
    headers: dict[str, HeaderValue] = {"content_type": "application/json"}  # as every dead letter says
    source = as_test(Message("m-1", b"{no", headers), b"{no", "app:tasks", JsonCodec())
    with pytest.raises(AssertionError):
        run_source(source, project)
    assert "dead-lettered to app:dead after attempt 1 (undecodable)" in caplog.text
