"""Bad inputs, each with what must come of it, against the real thing: the command line, a publisher, a consumer.

``T31`` and so on are the numbers of the attacks in the list that these rows were taken from. Run with ``-v`` to see
each row; their hidden values (``CANARY``, a secret, the text of a body) must never be seen again.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import logging
import os
import pickle
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tasuki import App
from tasuki.app.lifecycle.running import wait_until_empty
from tasuki.contracts.driver import Outgoing
from tasuki.errors import PolicyDeniedError, TasukiError
from tasuki.observe.log import JsonFormatter, TextFormatter
from tests.support.process import run

CANARY = "canary-was-here"
SECRET = "hush-hush-hush-hush"

BASE = """\
version: "1.0"
namespace: app
entries:
  - {name: driver, kind: queue.driver.sqlite, path: queue.db%(driver)s}
  - {name: tasks, kind: queue.queue, driver: driver, dead_letter: {queue: dead, max_attempts: 1}%(queue)s}
  - {name: dead, kind: queue.queue, driver: driver}
  - {name: work, kind: function.lua, modules: [queue, security, json], source: %(source)s}
  - {name: consumer, kind: queue.consumer, queue: tasks, func: work,
     lifecycle: {auto_start: true%(lifecycle)s}%(consumer)s}
%(more)s"""
DEFAULTS = {
    "driver": "",
    "queue": "",
    "source": '"return function(body) end"',
    "consumer": "",
    "lifecycle": "",
    "more": "",
}


def project(**fields: str) -> str:
    return BASE % {**DEFAULTS, **fields}


# Configuration: `tasuki check` ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Config:
    """A project that must be refused with exit code 3; ``says`` is part of the message."""

    number: str
    what: str
    text: str | bytes
    says: str
    prepare: Callable[[Path], object] = lambda folder: None
    environ: dict[str, str] = field(default_factory=dict)


def link(name: str, to: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).symlink_to(to)


def bombs(levels: int) -> str:
    rows = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    rows += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, levels)]
    return "namespace: app\n" + "\n".join(rows) + "\n"


CONFIGS = [
    Config("T31", "a misspelt field", project(consumer=", concurency: 4"), "did you mean 'concurrency'"),
    Config("T31", "a negative number", project(consumer=", concurrency: -1"), "concurrency"),
    Config("T31", "a huge number", project(consumer=", concurrency: 1000000000000"), "exceeds maximum 1000"),
    Config("T31", "a text for a number", project(consumer=", prefetch: lots"), "prefetch must be a whole number"),
    Config("T31", "half a duration", project(consumer=", handler_timeout: 1h30"), "handler_timeout"),
    Config("T31", "an unknown kind", project(more="  - {name: x, kind: queue.quue}\n"), "queue.queue"),
    Config("T31", "a wrong type", project(queue=", options: [1]"), "options must be a mapping"),
    Config("T32", "a placeholder without a value", project(queue=", codec: '${env:NOWHERE}'"), "NOWHERE"),
    Config(
        "T32", "a placeholder that names another", project(queue=", codec: '${env:FIRST}'"), "not nested",
        environ={"FIRST": "${env:SECOND}", "SECOND": "json"},
    ),
    Config("T38", "billion laughs", bombs(9), "aliases expand to more than"),
    Config("T38", "an alias of itself", "namespace: app\nentries: &e [*e]\n", "p.yaml"),
    Config("T38", "a merge bomb", "namespace: app\na: &a {b: &b {c: 1}}\nentries: {<<: [*a, *b]}\n", "p.yaml"),
    Config("T38", "tabs", "namespace: app\nentries:\n\t- {name: x}\n", "p.yaml:3"),
    Config("T38", "a NUL", b"namespace: app\nentries: [{name: 'a\0b'}]\n", "p.yaml"),
    Config("T38", "no UTF-8", b"namespace: app\nentries: [{name: '\xff\xfe'}]\n", "p.yaml"),
    Config("T38", "a name twice", project(more="  - {name: tasks, kind: queue.queue, driver: driver}\n"), "app:tasks"),
    Config("T38", "a key twice", "namespace: app\nnamespace: other\n", "p.yaml:2:1: this key is given twice"),
    Config("T38", "a file of 50 MB", b"namespace: app\n# " + b"x" * 50_000_000, "p.yaml"),
    Config("T34", "an object", f"namespace: app\nx: !!python/object/apply:os.system [touch {CANARY}]\n", "p.yaml"),
    Config("T39", "a path upwards", project(source="'file://../../etc/passwd'"), "leaves"),
    Config("T39", "a path in and upwards", project(source="'file://a/../../x.lua'"), "leaves"),
    Config("T39", "an absolute path", project(source="'file:///etc/passwd'"), "etc/passwd"),
    Config("T39", "an escaped path", project(source="'file://%2e%2e/x.lua'"), "%2e%2e/x.lua"),
    Config("T39", "backslashes", project(source=r"'file://..\\x.lua'"), "x.lua"),
    Config("T39", "a link to outside", project(source="'file://x.lua'"), "leaves", link("x.lua", "/etc/passwd")),
    Config("T39", "a device", project(source="'file://x.lua'"), "x.lua", link("x.lua", "/dev/zero")),
    Config("T39", "the environment", project(source="'file://x.lua'"), "x.lua", link("x.lua", "/proc/self/environ")),
    Config("T39", "a pipe", project(source="'file://x.lua'"), "x.lua", lambda folder: os.mkfifo(folder / "x.lua")),
    Config("T39", "a folder", project(source="'file://x.lua'"), "x.lua", lambda folder: (folder / "x.lua").mkdir()),
    Config("T5", "a line end in a name", project(queue=', queue_name: "tasks\\n"'), "is not a queue name"),
    Config("T22", "SQL in a name", project(queue=", queue_name: \"'; DROP TABLE messages\""), "is not a queue name"),
    Config("T24", "wildcards in a name", project(queue=", queue_name: 'a.>'"), "is not a queue name"),
    Config(
        "T26", "a slow expression in a policy",
        project(more="  - {name: p, kind: security.policy, policy: {actions: '*', resources: '*', effect: deny, "
                r"conditions: [{field: resource, operator: matches, value: '(a)\1'}]}}" + "\n"),
        "policy.conditions.0",
    ),
    Config(
        "T45", "a secret of the wrong form",
        project(queue=f", signing: {{keys: [{{id: a, secret: ['{SECRET}']}}]}}"), "at least 16 bytes",
    ),
    Config(
        "T3", "an unknown policy",
        project(lifecycle=", security: {actor: {id: me}, policies: [nowhere]}"), "nowhere",
    ),
]  # fmt: skip


@pytest.mark.e2e
@pytest.mark.parametrize("row", CONFIGS, ids=lambda row: f"{row.number} {row.what}")
def test_a_configuration_is_refused(row: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "project"
    folder.mkdir()
    for name, value in row.environ.items():
        monkeypatch.setenv(name, value)
    (folder / "p.yaml").write_bytes(row.text if isinstance(row.text, bytes) else row.text.encode())
    row.prepare(folder)
    done = run("check", folder=folder)
    assert (done.returncode, done.stdout) == (3, "")
    assert row.says in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr) < 4000
    assert SECRET not in done.stderr
    assert "root:" not in done.stderr
    assert list(tmp_path.rglob(CANARY)) == []


# Publishing: the command line, and the application's own code -------------------------------------------------------


@dataclass(frozen=True)
class Publish:
    """Arguments of ``tasuki publish`` that must be refused, with this exit code, and this in the message."""

    number: str
    what: str
    arguments: tuple[str, ...]
    code: int
    says: str


PUBLISHES = [
    Publish("T21", "a reserved header", ("tasks", "1", "--header", "x_original_queue=app:dead"), 1, "is reserved"),
    Publish("T57", "a count of attempts", ("tasks", "1", "--header", "attempts=-1"), 1, "is reserved"),
    Publish("T52", "a long header name", ("tasks", "1", "--header", "n" * 300 + "=1"), 1, "1 to 255 printable"),
    Publish("T19", "a line end in a header name", ("tasks", "1", "--header", "a\r\nb=1"), 1, "printable"),
    Publish("T57", "a priority beyond", ("tasks", "1", "--priority", "999"), 2, "0<=x<=9"),
    Publish("T57", "a negative delay", ("tasks", "1", "--delay", "-5"), 1, "delay"),
    Publish("T57", "an endless delay", ("tasks", "1", "--delay", "inf"), 1, "delay"),
    Publish("T58", "an empty id", ("tasks", "1", "--id", ""), 1, "message id"),
    Publish("T58", "a long id", ("tasks", "1", "--id", "i" * 100_000), 1, "message id"),
    Publish("T6", "a queue that is not there", ("taks", "1"), 1, "tasks"),
    Publish("T37", "a body beyond its size", ("tasks", "--file", "big.json"), 1, "larger than"),
]


@pytest.mark.e2e
@pytest.mark.parametrize("row", PUBLISHES, ids=lambda row: f"{row.number} {row.what}")
def test_a_publish_is_refused(row: Publish, tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text(project(queue=", max_message_size: 1KiB"))
    (tmp_path / "big.json").write_text(json.dumps("x" * 2000) + "\n")
    done = run("publish", *row.arguments, folder=tmp_path)
    assert done.returncode == row.code
    assert "confirmed" not in done.stdout or "0 confirmed" in done.stdout
    assert row.says in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr) < 1000
    info = run("info", "tasks", "--json", folder=tmp_path)
    was_declared = "does not exist at its broker" not in info.stderr
    assert not was_declared or json.loads(info.stdout)["message_count"] == 0


BODIES: list[tuple[str, str, Any, dict[str, Any], str]] = [
    ("T37", "NaN", float("nan"), {}, "not finite"),
    ("T37", "an endless number", {"n": [float("inf")]}, {}, "not finite"),
    ("T37", "half a character", "\ud800", {}, "JSON"),
    ("T57", "a number of 70 bits in a header", 1, {"headers": {"n": 2**70}}, "64 bits"),
    ("T58", "a NUL in an id", 1, {"id": "a\0b"}, "printable"),
    ("T27", "an object of Python", object(), {}, "JSON"),
]


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("body", "options", "says"), [row[2:] for row in BODIES], ids=[f"{row[0]} {row[1]}" for row in BODIES]
)
async def test_a_body_is_refused(body: Any, options: dict[str, Any], says: str, tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text(project())
    async with App.load(tmp_path) as app:
        with pytest.raises(TasukiError, match=says):
            await app.publish("app:tasks", body, **options)
        assert (await app._runtime.queue("app:tasks").depth()).ready == 0


# Consuming: what another program has put into the queue --------------------------------------------------------------


class Trap:
    """Unpickling it leaves a canary."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (os.system, (f"touch {CANARY}",))


NOT_JSON = "body is not JSON"

BAD_MESSAGES: list[tuple[str, str, bytes, dict[str, Any], str, str]] = [
    ("T37", "100,000 deep", b"[" * 100_000, {}, "undecodable", NOT_JSON),
    ("T37", "a number of 10 MB", b"7" * 10_000_000, {}, "invalid", "the max_message_size of its queue"),
    ("T37", "a number beyond any float", b'{"n": 1e309}', {}, "undecodable", "out of range"),
    ("T37", "NaN", b"NaN", {}, "undecodable", NOT_JSON),
    ("T37", "a byte order mark", b"\xef\xbb\xbf1", {}, "undecodable", NOT_JSON),
    ("T37", "more after the end", b"1 2", {}, "undecodable", NOT_JSON),
    ("T37", "half a character", rb'"\ud800"', {}, "undecodable", NOT_JSON),
    ("T37", "nothing at all", b"", {}, "undecodable", NOT_JSON),
    ("T34", "a pickle", pickle.dumps(Trap()), {}, "undecodable", NOT_JSON),
    ("T35", "a pickle that says so", pickle.dumps(Trap()), {"content_type": "application/x-python-serialize"},
     "undecodable", NOT_JSON),
    ("T35", "compressed", gzip.compress(b"1"), {"content_type": "json", "encoding": "gzip"}, "undecodable", NOT_JSON),
    ("T36", "a compressed bomb that says so", gzip.compress(b"0" * 50_000_000), {"content_type": "json/plain+gzip"},
     "invalid", "is more than 1048576 bytes when it is decompressed"),
    ("T36", "a compressed bomb", gzip.compress(b"0" * 50_000_000), {}, "undecodable", NOT_JSON),
    ("T34", "an extension of MessagePack", b"\xc7\x04\x05abcd", {"content_type": "application/msgpack"}, "undecodable",
     "extension type 5"),
    ("T37", "NaN in MessagePack", msgspec.msgpack.encode(float("nan")), {"content_type": "application/msgpack"},
     "undecodable", "not finite"),
    ("T57", "attempts in a header", b"[", {"attempts": "-1"}, "undecodable", NOT_JSON),
]  # fmt: skip


@pytest.mark.anyio
async def test_messages_go_to_the_dead_letters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "p.yaml").write_text(project())
    async with App.load(tmp_path).worker() as app:
        for number, what, body, headers, _, _ in BAD_MESSAGES:
            await put(app, Outgoing(f"{number} {what}", body, headers))
        await put(app, Outgoing("good", b'"good"', {}))
        await asyncio.wait_for(wait_until_empty(lambda: app._runtime.assembly), 60)
        letters = {letter.id: letter for letter in await app._runtime.queue("app:dead").peek(len(BAD_MESSAGES) + 1)}
    assert len(letters) == len(BAD_MESSAGES)
    for number, what, body, _, reason, says in BAD_MESSAGES:
        dead = letters[f"{number} {what}"]
        assert (dead.body, dead.headers["x_dead_letter_reason"]) == (body, reason), dead.id
        assert dead.headers["attempts"] == 1, dead.id
        assert says in str(dead.headers["x_last_error"]), dead.id
        assert len(str(dead.headers["x_last_error"])) < 500, dead.id
    assert list(tmp_path.rglob(CANARY)) == []
    assert "Traceback" not in caplog.text


async def put(app: App, *messages: Outgoing) -> None:
    """Straight into the broker, as another program would do it."""
    queue = app._runtime.queue("app:tasks")
    assert not any(await queue.driver.publish(queue.spec.name, list(messages)) or ())


@dataclass(frozen=True)
class Treated:
    """A message that looks dangerous, what the handler makes of it, and the reason of its dead letter (none: "")."""

    number: str
    what: str
    body: str | bytes
    script: str
    fields: dict[str, str] = field(default_factory=dict)
    headers: dict[str, Any] = field(default_factory=dict)
    error: str = ""


CLERK = ", security: {actor: {id: clerk}, policies: [only_tasks]}"
ONLY_TASKS = (
    "  - {name: only_tasks, kind: security.policy, policy: {actions: '*', resources: ['app:tasks'], effect: allow}}\n"
    "  - {name: hidden, kind: queue.queue, driver: driver}\n"
)
IS = "if body ~= %s then error('the body is ' .. json.encode(body)) end"

TREATED = [
    Treated(
        "T4", "headers that name an actor", '"x"',
        "if security.actor():id() ~= 'clerk' then error('it is another') end "
        "local ok, err = queue.publish('app:hidden', 1) if ok then error('it may publish') end return nil, err",
        {"lifecycle": CLERK, "more": ONLY_TASKS},
        {"actor": "root", "x-actor": "root", "security.scope": "all", "security.actor": '{"id": "root"}'},
        "not allowed to publish to queue: app:hidden",
    ),
    Treated("T27", "placeholders in a body", '"${env:HOME} {0.__class__} %s"', IS % "'$${env:HOME} {0.__class__} %s'"),
    Treated("T37", "a key twice", '{"a": 1, "a": 2}', IS.replace("body ~=", "body.a ~=") % "2"),
    Treated("T34", "keys of prototypes", '{"__proto__": {"x": 1}, "__index": {"y": 1}}',
            "if body.x or body.y or not body.__proto__ then error('it is more than data') end"),
    Treated("T34", "a date of MessagePack", b"\xd6\xff\x00\x00\x00\x00", IS % "'1970-01-01T00:00:00Z'",
            headers={"content_type": "application/msgpack"}),
    Treated("T40", "Python in a script", "1", "python.builtins.__import__('os').system('touch x')", error="python"),
    Treated("T42", "bytecode in a script", "1", r"return load('\\27Lua')()", error="attempt to call a nil value"),
    Treated("T43", "a loop without end", "1", "while true do end", error="longer than its 300ms"),
    Treated("T46", "a body with a secret, and a failure", f'"{SECRET}"', "error('it failed')", error="it failed"),
    Treated("T49", "a forged line of a log", r'"x\n2026 INFO login ok\u001b[2J"', "error(body)", error="login ok"),
    Treated("T50", "an address", '{"url": "http://169.254.169.254/", "reply_to": "https://x"}',
            IS.replace("body ~=", "body.url ~=") % "'http://169.254.169.254/'"),
]  # fmt: skip


@pytest.mark.anyio
@pytest.mark.parametrize("row", TREATED, ids=lambda row: f"{row.number} {row.what}")
async def test_a_message_is_data_and_nothing_else(
    row: Treated, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    script = f"return function(body) {row.script} end"
    source = json.dumps(script.replace("\\\\", "\\")) + ", limits: {time: 300ms}"
    (tmp_path / "p.yaml").write_text(project(source=source, **row.fields))
    caplog.set_level(logging.DEBUG)
    async with App.load(tmp_path).worker() as app:
        body = row.body if isinstance(row.body, bytes) else row.body.encode()
        await put(app, Outgoing("one", body, row.headers))
        await asyncio.wait_for(wait_until_empty(lambda: app._runtime.assembly), 20)
        dead = await app._runtime.queue("app:dead").peek()
    if not row.error:
        assert [str(message.headers["x_last_error"]) for message in dead] == []
    else:
        assert row.error in str(dead[0].headers["x_last_error"])
    for line in [form.format(record) for record in caplog.records for form in (JsonFormatter(), TextFormatter())]:
        assert SECRET not in line
        assert "\x1b" not in line
        assert not any(part.startswith("2026 INFO") for part in line.splitlines())


# Identities ----------------------------------------------------------------------------------------------------------


@pytest.mark.e2e
def test_t3_a_consumer_that_may_not_consume_names_the_policy(tmp_path: Path) -> None:
    deny = "  - {name: no, kind: security.policy, policy: {actions: '*', resources: '*', effect: deny}}\n"
    lifecycle = ", security: {actor: {id: clerk}, policies: [no]}"
    (tmp_path / "p.yaml").write_text(project(lifecycle=lifecycle, more=deny))
    done = run("run", "--until-empty", folder=tmp_path)
    assert done.returncode == 1
    assert "policy 'app:no' denies it" in done.stderr


@pytest.mark.anyio
async def test_t1_and_t6_an_application_without_rights_publishes_nothing_and_learns_nothing(tmp_path: Path) -> None:
    more = "  - {name: security, kind: security.config, strict: true}\n"
    (tmp_path / "p.yaml").write_text(project(more=more))
    async with App.load(tmp_path) as app:
        for queue in ("app:tasks", "app:nowhere"):
            with pytest.raises(PolicyDeniedError, match=f"^not allowed to publish to queue: {queue}$"):
                await app.publish(queue, 1)
        assert (await app._runtime.live().queue("app:tasks").depth()).ready == 0


@pytest.mark.anyio
async def test_t58_an_id_is_only_known_within_its_queue(tmp_path: Path) -> None:
    queue = ", dedup_window: 1h"
    (tmp_path / "p.yaml").write_text(project(queue=queue))
    async with App.load(tmp_path) as app:
        await app.publish("app:dead", "first", id="same")
        await app.publish("app:tasks", "second", id="same")
        assert (await app._runtime.queue("app:tasks").depth()).ready == 1


def test_there_are_at_least_fifty() -> None:
    assert len(CONFIGS) + len(PUBLISHES) + len(BODIES) + len(BAD_MESSAGES) + len(TREATED) + 3 >= 50
