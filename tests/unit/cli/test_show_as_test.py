"""``tasuki show --as-test``: tests of messages of tasks, batches, scripts, and of bodies that are not JSON."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tasuki import App
from tasuki.dead.test_case import as_test
from tasuki.message import Message
from tasuki.observe.redact import masked
from tasuki.queues.messages.codec import CompressedCodec, JsonCodec, MsgpackCodec
from tests.unit.cli.conftest import CommandLine
from tests.unit.cli.test_show import run_source

NOON = datetime(2026, 4, 1, 12, tzinfo=UTC)

PROJECT = """
version: "1.0"
namespace: app
entries:
  - {name: driver, kind: queue.driver.sqlite}
  - {name: dead, kind: queue.queue, driver: driver}
  - {name: jobs, kind: queue.queue, driver: driver, dead_letter: {queue: dead, max_attempts: 1}}
  - {name: packed, kind: queue.queue, driver: driver, codec: msgpack, dead_letter: {queue: dead, max_attempts: 1}}
  - {name: mails, kind: queue.queue, driver: driver, dead_letter: {queue: dead, max_attempts: 1}}
  - {name: scripts, kind: queue.queue, driver: driver, dead_letter: {queue: dead, max_attempts: 1}}
  - {name: task, kind: function.python, source: file://handlers.py, method: task}
  - {name: one, kind: function.python, source: file://handlers.py, method: one}
  - {name: many, kind: function.python, source: file://handlers.py, method: many}
  - {name: script, kind: function.lua, source: file://script.lua}
  - name: on_jobs
    kind: queue.consumer
    queue: jobs
    funcs: {fetch: task, script: script}
    lifecycle: {auto_start: true}
  - {name: on_packed, kind: queue.consumer, queue: packed, func: one, lifecycle: {auto_start: true}}
  - {name: on_scripts, kind: queue.consumer, queue: scripts, func: script, lifecycle: {auto_start: true}}
  - name: on_mails
    kind: queue.consumer
    queue: mails
    func: many
    batch: {size: 10, wait: 10ms}
    lifecycle: {auto_start: true}
"""

HANDLERS = """
from datetime import datetime

def task(url, n):
    check(n == 0)

def one(body):
    assert isinstance(body, bytes) or isinstance(body["at"], datetime)
    check(True)

def many(bodies):
    return [ValueError("odd") if IS_BROKEN and body in (1, b"\\x00") else None for body in bodies]

def check(is_bad):
    if IS_BROKEN and is_bad:
        raise ValueError("bad")
"""
SCRIPT = """
return function(body)
  if IS_BROKEN and (type(body) ~= "table" or body.n == 0) then
    error("bad: " .. tostring(body))
  end
end
"""


def write(folder: Path, *, is_broken: bool) -> None:
    (folder / "_index.yaml").write_text(PROJECT)
    (folder / "handlers.py").write_text(f"IS_BROKEN = {is_broken}\n{HANDLERS}")
    (folder / "script.lua").write_text(f"local IS_BROKEN = {str(is_broken).lower()}\n{SCRIPT}")


MESSAGES: dict[str, tuple[str, Any, dict[str, Any]]] = {
    "task": ("app:jobs", {"url": "u", "n": 0}, {"message_type": "fetch"}),
    "task in Lua": ("app:jobs", {"n": 0}, {"message_type": "script", "tenant": "a"}),
    "one of a batch": ("app:mails", 1, {}),
    "bytes in a batch": ("app:mails", b"\x00", {}),
    "MessagePack": ("app:packed", {"at": NOON, "raw": b"\x00\xff", 5: [1.5, None], "text": "x" * 200}, {}),
    "bytes": ("app:packed", b"\x00raw" * 50, {}),
    "Lua": ("app:scripts", {"n": 0}, {}),
    "Lua with text": ("app:scripts", 'a "text"\n\\ with lines', {}),
    "Lua with bytes": ("app:scripts", b"\x00\x01", {}),
}


def mended(source: str) -> str:
    """The test as its comment says to change it."""
    before, letter, after = source.partition("    assert [letter.reason for letter in ")
    _, _, wanted = after.partition("in the place of the lines above:\n")
    assert letter
    return before + wanted.replace("    # ", "    ")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A broken project, whose messages are all dead letters."""
    folder = tmp_path_factory.mktemp("project")
    write(folder, is_broken=True)
    app = App.load(folder)
    for id, (queue, body, headers) in MESSAGES.items():
        app.sync.publish(queue, body, headers, id=id)
    app.sync.close()
    return folder


@pytest.fixture
def source_of(folder: Path, tasuki: CommandLine) -> Callable[[str], str]:
    """The test that ``show`` writes for a message; the broken project has run before."""
    tasuki.folder = folder
    assert tasuki("run", "--until-empty").returncode == 0

    def show(id: str) -> str:
        done = tasuki("show", id, "--as-test")
        assert done.returncode == 0, done.stderr
        return done.stdout

    return show


@pytest.mark.parametrize("id", MESSAGES)
def test_it_wants_the_same_failure_until_the_handler_is_mended(
    id: str, folder: Path, source_of: Callable[[str], str], tmp_path: Path
) -> None:
    source = source_of(id)
    assert f"publish('{MESSAGES[id][0]}'" in "".join(source.split("\n        "))
    run_source(source, folder)
    write(tmp_path, is_broken=False)
    with pytest.raises(AssertionError):
        run_source(source, tmp_path)
    twin = run_source(mended(source), tmp_path)
    queue, body, headers = MESSAGES[id]
    (sent,) = twin.messages(queue)
    assert sent.body == body
    assert headers.items() <= sent.headers.items()


def test_a_message_that_no_consumer_takes_fails_the_test(tmp_path: Path) -> None:
    write(tmp_path, is_broken=False)
    source = as_test(Message("m", b"1", {}), 1, "app:dead", JsonCodec())
    with pytest.raises(AssertionError):
        run_source(source, tmp_path)


@pytest.mark.parametrize("id", ["l3²'\"\\", "\n'''\"\"\"", "²³", "1-2"])
def test_any_id_makes_a_name_and_a_docstring(id: str) -> None:
    names: dict[str, Any] = {}
    exec(compile(as_test(Message(id, b"1", {}), 1, "app:q", JsonCodec()), "test_it.py", "exec"), names)
    [test] = [value for name, value in names.items() if name.startswith("test_")]
    assert test.__doc__.startswith("Message ")


@pytest.mark.parametrize("depth", [50, 250, 900])
def test_a_body_that_is_nested_deep_is_published_as_its_bytes(depth: int) -> None:
    encoded = b"[" * depth + b"]" * depth
    source = as_test(Message("m", encoded, {}), JsonCodec().decoder()(encoded), "app:q", JsonCodec())
    compile(source, "test_it.py", "exec")  # Python reads no literal with more than 200 brackets
    assert ("'content_type': 'json/plain'" in source) is (depth > 200)


def test_a_compressed_body_is_published_as_it_was_before() -> None:
    body = {"at": NOON}
    message = Message("m", b"compressed", {"content_type": "application/msgpack+gzip"})
    source = as_test(message, body, "app:packed", CompressedCodec(MsgpackCodec(), "gzip", 2**20))
    assert "headers={'content_type': 'application/msgpack'}" in source
    assert repr(MsgpackCodec().encode(body)) in source


SECRET: dict[str, Any] = {"user": "a", "password": "hunter2", "db": {"api_key": 7, "dsn": {"x": ["y", 2, True, None]}}}


def test_secrets_are_masked_with_values_of_the_same_types() -> None:
    body = {**SECRET, "text": "token=abc", "n": 5}
    headers: dict[str, Any] = {"authorization": "Bearer abcdefgh", "tenant": "a"}
    source = as_test(Message("m", b"", headers), body, "app:q", JsonCodec())
    for secret in ("hunter2", "abc", "'y'", "7"):
        assert secret not in source
    assert "# Its secrets are masked" in source
    assert masked(body, keeps_types=True) == {
        "user": "a",
        "password": "***",
        "db": {"api_key": 0, "dsn": {"x": ["***", 0, True, None]}},
        "text": "token=***",
        "n": 5,
    }
    assert masked(b"password=hunter2") == b"password=***"
    assert masked(b"\xffpassword=hunter2") == b"\xffpassword=***"
    plain = as_test(Message("m", b"", {"tenant": "a"}), {"user": "a"}, "app:q", JsonCodec())
    assert "masked" not in plain


@pytest.mark.parametrize("wrap", [lambda value: {"a": value}, lambda value: [value]])
def test_objects_nested_too_deep_are_masked_as_far_as_python_goes(wrap: Callable[[Any], Any]) -> None:
    value: Any = {"password": "hunter2"}
    for _ in range(5000):
        value = wrap(value)
    found = masked({"password": "hunter2", "deep": value})
    assert found["password"] == "***"
    assert type(found["deep"]) is type(value)


@pytest.mark.parametrize(
    ("headers", "wanted"),
    [
        ({"x_last_error": "KeyError: no", "x_error_type": "KeyError"}, "assert letter.error == 'KeyError: no'"),
        ({"x_last_error": "no " * 50 + "no"}, f"assert letter.error.startswith('{'no ' * 20}')"),
        ({"x_last_error": "no order 7", "x_error_type": "E"}, "assert letter.headers['x_error_type'] == 'E'"),
        ({}, "assert [letter.reason for letter in tasuki_app.dead] == ['max_attempts']"),
    ],
)
def test_what_changes_from_failure_to_failure_is_not_compared(headers: dict[str, Any], wanted: str) -> None:
    told = {"x_dead_letter_reason": "max_attempts", **headers}
    source = as_test(Message("m", b"", told), 1, "app:q", JsonCodec())
    assert f"    {wanted}\n    # Once the handler is fixed" in source


@pytest.mark.parametrize("reason", ["expired", "worker_died", "unsigned", "cancelled"])
def test_a_letter_that_no_handler_has_failed_is_to_be_handled(reason: str) -> None:
    source = as_test(Message("m", b"", {"x_dead_letter_reason": reason}), 1, "app:q", JsonCodec())
    assert source.endswith("    assert tasuki_app.dead == []\n    assert tasuki_app.settled('app:q')[-1:] == ['ack']\n")
