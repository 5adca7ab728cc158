"""Warnings: what a driver cannot honor is named at its line, with the reason; the project is good all the same."""

from __future__ import annotations

from importlib.metadata import packages_distributions, requires
from pathlib import Path

import pytest

from tasuki import App, Context
from tasuki.kinds.check.warnings import warnings_of
from tasuki.kinds.kind import built_in_drivers
from tests.unit.kinds.conftest import Make, Problems

ENTRIES = """\
  - {name: rabbit, kind: queue.driver.amqp}
  - {name: amazon, kind: queue.driver.sqs}
  - {name: q, kind: queue.queue, driver: %s, dead_letter: null}
  - {name: f, kind: function.lua, source: return 1}
  - name: c
    kind: queue.consumer
    queue: q
    func: f
    lifecycle: {auto_start: true}
    driver_options:
      amqp:
        exclusive: %s
        no_local: true
        no_wait: true
        consumer_tag: worker-1
      sqs:
        wait_time: 20
        visibility_timeout: 2m
"""


def test_options_without_effect_are_named_at_their_line(project: Make) -> None:
    warnings = [str(warning) for warning in warnings_of(project(ENTRIES % ("rabbit", "true")))]
    assert [warning.partition(" has no effect; ")[0] for warning in warnings] == [
        "p.yaml:14:9: app:c: amqp option exclusive",
        "p.yaml:15:9: app:c: amqp option no_local",
        "p.yaml:16:9: app:c: amqp option no_wait",
        "p.yaml:17:9: app:c: amqp option consumer_tag",
    ]
    reasons = [warning.partition(" has no effect; ")[2] for warning in warnings]
    assert reasons[1] == "RabbitMQ does not implement it"
    assert all(reasons)


@pytest.mark.parametrize(
    ("entry", "hosts"),
    [
        ("redis, url: 'redis://:word@cache:6379/0'", "cache:6379"),
        ("redis, url: 'redis://me:word@10.0.0.5/0'", "10.0.0.5"),
        ("redis, addrs: 'a:6379,localhost:1,b:6379', password: word", "a:6379, b:6379"),
        ("redis, addrs: [s:26379], master_name: m, sentinel_password: word", "s:26379"),
        ("redis, url: 'redis://:word@cache/0', tls: {enabled: false}", "cache"),
        ("redis, url: 'redis://cache/0'", ""),
        ("redis, url: 'rediss://:word@cache/0'", ""),
        ("redis, url: 'redis://:word@cache/0', tls: {enabled: true}", ""),
        ("redis, url: 'redis://:word@127.0.0.2/0'", ""),
        ("redis, url: 'unix:///run/redis.sock', password: word", ""),
        ("redis", ""),
        ("amqp, url: 'amqp://me:word@one,localhost,two:5673/'", "one, two:5673"),
        ("amqp, url: 'amqps://me:word@one/'", ""),
        ("amqp, url: 'amqp://me:word@one/', tls: {enabled: true}", ""),
        ("amqp, url: 'amqp://one/'", ""),
        ("amqp", ""),
        ("nats, servers: ['nats://one:4222', 'nats://localhost'], user: a, password: b", "one:4222"),
        ("nats, servers: ['nats://one:4222'], token: word", "one:4222"),
        ("nats, servers: ['nats://word@one:4222']", "one:4222"),
        ("nats, servers: ['nats://one:4222']", ""),
        ("nats, servers: ['tls://one:4222'], token: word", ""),
        ("nats, servers: ['nats://one:4222'], token: word, tls: {ca: x.pem}", ""),
        ("nats", ""),
    ],
)
def test_a_password_that_leaves_the_machine_in_clear_is_one_warning(project: Make, entry: str, hosts: str) -> None:
    text = f"  - {{name: d, kind: queue.driver.{entry}}}\n"
    found = [str(warning) for warning in warnings_of(project(text)) if "in clear" in str(warning)]
    assert [each.partition(";")[0].partition("app:d: ")[2] for each in found] == (
        [f"the password goes to {hosts} in clear"] if hosts else []
    )


def test_only_those_of_the_driver_in_use_and_no_defaults(project: Make) -> None:
    text = ENTRIES % ("rabbit", "false")
    assert [warning.position.line for warning in warnings_of(project(text)) if warning.position] == [15, 16, 17]
    warnings = warnings_of(project(ENTRIES % ("amazon", "true")))
    assert [(warning.entry, warning.problem) for warning in warnings] == [
        ("app:c", "sqs option wait_time has no effect"),
        ("app:c", "sqs option visibility_timeout has no effect"),
    ]
    assert (
        warnings_of(project("  - {name: a, kind: queue.driver.amqp}\n  - {name: q, kind: queue.queue, driver: a}\n"))
        == []
    )


QUEUE = "  - {name: d, kind: queue.driver.memory%s}\n  - {name: q, kind: queue.queue, driver: d, dead_letter: null}\n"
CONSUMER = (
    "  - {name: f, kind: function.lua, source: return 1}\n  - {name: c, kind: queue.consumer, queue: q, func: f%s}\n"
)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (", concurrency: 5, prefetch: 2", ["prefetch 2 is less than concurrency 5 and is raised to it"]),
        (", concurrency: 5, prefetch: 5", []),
        (", concurrency: 500", []),
    ],
)
def test_a_prefetch_that_leaves_workers_without_messages(project: Make, fields: str, expected: list[str]) -> None:
    found = warnings_of(project(QUEUE % "" + CONSUMER % (fields + ", lifecycle: {auto_start: true}")))
    assert [warning.problem for warning in found] == expected


@pytest.mark.parametrize(
    ("lifecycle", "is_warned"), [("", True), ("auto_start: true", False), ("auto_start: false", False)]
)
def test_a_consumer_that_does_not_start_and_does_not_say_so(project: Make, lifecycle: str, is_warned: bool) -> None:
    text = QUEUE % "" + CONSUMER % f", lifecycle: {{{lifecycle}}}"
    found = [(str(warning.position), warning.entry, warning.problem) for warning in warnings_of(project(text))]
    problem = "the consumer does not start, so it handles no message of app:q: auto_start is false by default"
    assert found == [("p.yaml:6:5", "app:c", problem)] * is_warned


def test_a_consumer_that_another_needs_starts_with_it(project: Make) -> None:
    first = CONSUMER % ", lifecycle: {auto_start: true, depends_on: [other]}"
    other = "  - {name: other, kind: queue.consumer, queue: q, func: f}\n"
    assert warnings_of(project(QUEUE % "" + first + other)) == []


def test_a_driver_whose_client_is_not_installed(project: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    found = project(QUEUE.replace(".memory", ".nats") % "")
    assert warnings_of(found) == []
    monkeypatch.setattr("tasuki.kinds.check.warnings.find_spec", lambda name: None)
    assert [str(warning) for warning in warnings_of(found)] == [
        "p.yaml:3:15: app:d: its client 'nats' is not installed here; to run it, pip install 'tasuki[nats]'"
    ]


def test_a_queue_needs_the_library_of_its_compression(project: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "  - {name: d, kind: queue.driver.memory}\n  - {name: q, kind: queue.queue, driver: d, compress: zstd}\n"
    monkeypatch.setattr("tasuki.kinds.check.warnings.find_spec", lambda name: None)
    (warning,) = warnings_of(project(text))
    assert str(warning) == (
        "p.yaml:4:45: app:q: the library 'zstandard' is not installed here; "
        "to run it, pip install 'tasuki[zstd]', or write compress: gzip"
    )


@pytest.mark.parametrize("name", ["amqp", "nats", "postgres", "redis", "sqs"])
def test_a_driver_needs_its_client(name: str) -> None:
    (kind,) = [kind for kind in built_in_drivers() if kind.short_name == name]
    needed = [text for text in requires("tasuki") or () if f'extra == "{name}"' in text.replace("'", '"')]
    clients = packages_distributions()[kind.client]
    assert any(needs.startswith(client) for needs in needed for client in clients)


def test_a_project_without_entries(project: Make) -> None:
    assert [str(warning) for warning in warnings_of(project("  []\n"))] == [
        "nothing will be handled: there are no entries; write jobs = app.queue('jobs') and @jobs.consumer, or in "
        "YAML a namespace and entries"
    ]


def test_entries_that_are_skipped_for_their_file_has_no_namespace(project: Make, tmp_path: Path) -> None:
    (tmp_path / "more.yaml").write_text("entries:\n  - {name: q, kind: queue.queue}\n")
    assert [str(warning).partition("; ")[0] for warning in warnings_of(project(QUEUE % ""))] == [
        "more.yaml:1:1: these entries are skipped: the file has no namespace"
    ]


@pytest.mark.parametrize("value", ["${QUEUE_FILE}", "$${env:QUEUE_FILE}", "a ${QUEUE_FILE}", "${env:QUEUE_FILE}"])
def test_a_placeholder_as_a_shell_has_it(project: Make, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (QUEUE % f", path: '{value}'").replace(".memory", ".sqlite")
    warnings = [str(warning) for warning in warnings_of(project(text, environ={"QUEUE_FILE": "${HOME}"}))]
    warning = (
        "p.yaml:3:42: app:d: path: the value is plain text, not a placeholder; a placeholder is written ${env:NAME}"
    )
    assert warnings == [warning] * (value == "${QUEUE_FILE}")


@pytest.mark.parametrize("bag", ["driver_options: {amqp: {no_wait: true}}", "driver_options: {no_wait: true}"])
def test_wherever_they_stand(project: Make, bag: str) -> None:
    entries = ENTRIES.partition("    driver_options")[0] % "rabbit"
    (warning,) = warnings_of(project(f"{entries}    {bag}\n"))
    assert warning.position is not None
    assert (warning.position.line, warning.position.column) == (12, 5 + bag.index("no_wait"))


def test_wrong_values_are_errors(problems: Problems) -> None:
    text = (ENTRIES % ("amazon", "nearly")).replace("wait_time: 20", "wait_time: 21")
    assert problems(text) == [
        "14:9: app:c: amqp option exclusive must be true or false, not the text 'nearly'",
        "19:9: app:c: sqs option wait_time must be at most 20, not the number 21",
    ]


TWO = """\
  - {name: d, kind: queue.driver.memory}
  - {name: q, kind: queue.queue, driver: d, dead_letter: null}
  - {name: f, kind: function.lua, source: return 1}
  - {name: g, kind: function.lua, source: return 1}
  - {name: a, kind: queue.consumer, queue: q, func: f, lifecycle: {auto_start: true}}
  - {name: b, kind: queue.consumer, queue: q, func: %s, lifecycle: {auto_start: true}}
"""


def test_consumers_of_one_queue_with_different_functions_share_its_messages(project: Make) -> None:
    assert warnings_of(project(TWO % "f")) == []
    assert [str(warning) for warning in warnings_of(project(TWO % "g"))] == [
        "p.yaml:8:5: app:b: app:q has the consumer app:a too: each message goes to one of the two functions; "
        "give each function its own queue, or call both in one function"
    ]


def test_a_handler_without_parameters_does_not_see_the_body() -> None:
    app = App("memory://")
    jobs, ticks = (app.queue(name, dead_letter=None) for name in ("jobs", "ticks"))

    @jobs.consumer
    def forgetful() -> None: ...

    @ticks.consumer
    def knowing(context: Context) -> None: ...

    (warning,) = warnings_of(app.check())
    assert "the function 'forgetful' takes no parameter, so it does not see the body" in str(warning)
    assert warning.hint == "write def forgetful(body)"


POLICY = "  - {name: p, kind: security.policy, policy: {actions: %s, resources: '*', effect: %s%s}}\n"
KANA = ", conditions: [{field: actor.id, operator: eq, value: kana}]"
IDENTITY = "  - {name: s, kind: security.config, application: {actor: {id: web}, policies: [p]}}\n"


@pytest.mark.parametrize(
    ("text", "is_warned"),
    [
        ("", False),
        (POLICY % ("'queue.*'", "allow", ""), True),
        (POLICY % ("'queue.publish.*'", "allow", KANA), True),
        (POLICY % ("'*.purge'", "deny", ""), True),
        (POLICY % ("'queue.*'", "allow", KANA), False),
        (POLICY % ("queue.admin.peek", "allow", KANA), False),
        (POLICY % ("'queue.admin.*'", "deny", ""), False),
        (POLICY % ("'queue.*'", "allow", "") + "  - {name: s, kind: security.config, strict: true}\n", False),
        (POLICY % ("'queue.*'", "allow", "") + IDENTITY, False),
    ],
)
def test_a_project_with_policies_and_a_desk_without_rules(project: Make, text: str, is_warned: bool) -> None:
    assert [str(warning) for warning in warnings_of(project(QUEUE % "" + text))] == [
        "the desk has no rules: an actor who opens it may do whatever no policy denies; allow queue.admin.* with a "
        "condition on actor.id, or deny it, in a policy"
    ] * is_warned


def test_a_policy_for_workers_that_closes_the_desk(project: Make) -> None:
    worker = POLICY % ("'queue.*'", "allow", KANA.replace("actor.id", "actor.meta.team"))
    (warning,) = warnings_of(project(QUEUE % "" + worker))
    assert (str(warning.position), warning.entry) == ("p.yaml:5:5", "app:p")
    assert warning.problem.startswith("it closes the desk to everyone: its actions match queue.admin.…")
    kana = (POLICY % ("'*'", "allow", KANA)).replace("name: p", "name: o")
    assert warnings_of(project(QUEUE % "" + worker + kana)) == []


CONSUMED = """\
  - {{name: d, kind: queue.driver.memory}}
  - {{name: q, kind: queue.queue, driver: d{}}}
  - {{name: q.dead, kind: queue.queue, driver: d}}
  - {{name: f, kind: function.lua, source: return 1}}
  - {{name: c, kind: queue.consumer, queue: {}, func: f{}, lifecycle: {{auto_start: true}}}}
"""


@pytest.mark.parametrize(
    ("queue", "consumed", "consumer", "is_warned"),
    [
        ("", "q", "", True),
        (", dead_letter: q.dead", "q", "", False),
        (", dead_letter: null", "q", "", False),
        ("", "q", ", auto_ack: true", False),
        (", dead_letter: q.dead", "q.dead", "", False),
    ],
)
def test_a_queue_that_retries_for_ever_is_named(
    project: Make, queue: str, consumed: str, consumer: str, is_warned: bool
) -> None:
    warnings = [str(each) for each in warnings_of(project(CONSUMED.format(queue, consumed, consumer)))]
    expected = (
        "app:q: a message that always fails is retried forever: the queue has no dead_letter; "
        "write dead_letter: {queue: q.dead, max_attempts: 5}, or dead_letter: null to confirm it"
    )
    assert [warning.split(": ", 1)[1] for warning in warnings] == [expected] * is_warned


def test_a_queue_in_code_that_retries_for_ever_is_named() -> None:
    app = App("memory://")
    for name, given in (("jobs", {}), ("kept", {"dead_letter": "kept.dead"}), ("endless", {"dead_letter": None})):

        def handle(body: int) -> None:
            """Do nothing."""

        handle.__name__ = f"handle_{name}"
        app.queue(name, **given).consumer(handle)
    app.queue("unused")
    warned = {warning.entry for warning in warnings_of(app.check()) if "forever" in warning.problem}
    assert warned == {"app:jobs"}
