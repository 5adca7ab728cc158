from collections.abc import Callable

import pytest

from tasuki.backoff import Backoff
from tasuki.kinds.entries import queue as module
from tasuki.kinds.entries.queue import DeadLetterConfig, QueueConfig
from tests.support.narrow import present
from tests.unit.kinds.conftest import Make, Problems

DRIVERS = "  - {name: d, kind: queue.driver.memory}\n  - {name: dead, kind: queue.queue, driver: d}\n"

MakeQueue = Callable[..., QueueConfig]
Wrong = Callable[[str], str]


@pytest.fixture
def queue(project: Make) -> MakeQueue:
    def make(fields: str, **options: object) -> QueueConfig:
        text = f"{DRIVERS}  - {{name: q, kind: queue.queue, driver: d{fields}}}\n"
        return project(text, **options).of(QueueConfig)["app:q"]

    return make


@pytest.fixture
def wrong(problems: Problems) -> Wrong:
    def find(fields: str) -> str:
        [text] = problems(f"{DRIVERS}  - {{name: q, kind: queue.queue, driver: d{fields}}}\n")
        return text.partition("app:q: ")[2]

    return find


def test_the_defaults(queue: MakeQueue) -> None:
    config = queue("")
    assert config.driver == "app:d"
    assert (config.queue_name, config.codec, config.dead_letter) == ("q", "json/plain", None)
    assert config.signing is None
    assert config.retry.backoff() == Backoff(1.0, 90.0, 2.0, 0.1)
    assert (config.max_length, config.overflow, config.message_ttl, config.on_expire) == (
        None,
        "block",
        None,
        "dead_letter",
    )
    assert (config.max_message_size, config.lease, config.ordering) == (2**20, 30.0, "none")
    assert (config.options, config.driver_options) == ({}, {})


def test_durations_sizes_and_numbers(queue: MakeQueue) -> None:
    config = queue(", lease: 1m30s, message_ttl: 90, on_expire: drop, max_message_size: 256KiB, max_length: 1e3")
    assert (config.lease, config.message_ttl, config.max_message_size, config.max_length) == (90.0, 90.0, 262144, 1000)


def test_placeholders_take_the_type_of_their_field(queue: MakeQueue) -> None:
    fields = ", lease: '${env:N}', max_length: '${env:N}', retry: {jitter: '${env:J}'}, queue_name: '${env:N}'"
    config = queue(fields, environ={"N": "010", "J": "0.5"})
    assert (config.lease, config.max_length, config.retry.jitter, config.queue_name) == (10.0, 10, 0.5, "010")


@pytest.mark.parametrize(
    ("codec", "name"),
    [("json", "json/plain"), ("msgpack", "application/msgpack"), ("json/plain", "json/plain"), ("cbor", "cbor")],
)
def test_codecs_by_name_alias_or_package(
    queue: MakeQueue, codec: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_codec_names", lambda: frozenset({"cbor", "json/plain"}))
    assert queue(f", codec: {codec}").codec == name


def test_an_unknown_codec(wrong: Wrong) -> None:
    assert wrong(", codec: jsno") == "codec: 'jsno' is not a codec; did you mean 'json'?"
    assert wrong(", codec: pickle").endswith("; known are: application/msgpack, json, json/plain, msgpack")


@pytest.mark.parametrize("text", ["dead", "app:dead", "{queue: dead}"])
def test_a_dead_letter_queue_in_full_or_by_reference_alone(queue: MakeQueue, text: str) -> None:
    assert queue(f", dead_letter: {text}").dead_letter == DeadLetterConfig(queue="app:dead", max_attempts=5)


def test_expired_messages_go_somewhere(queue: MakeQueue, wrong: Wrong) -> None:
    assert wrong(", message_ttl: 1h") == "message_ttl needs a dead_letter queue for what expires, or on_expire: drop"
    assert queue(", message_ttl: 1h, dead_letter: dead").message_ttl == 3600
    assert queue(", message_ttl: 1h, on_expire: drop").on_expire == "drop"


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        (", max_length: -1", "max_length must be at least 0, not the number -1"),
        (", max_length: 1.5", "max_length must be a whole number, not the number 1.5"),
        (", max_length: '5'", "max_length must be a whole number, not the text '5'"),
        (
            ", max_length: 99999999999999999999",
            "max_length must be at most 9.22337203685478e+18, not the number 99999999999999999999",
        ),
        (", lease: 30 s", "lease: '30 s' is not a duration; write it like 500ms, 30s or 1h30m"),
        (", lease: -5", "lease: -5 is not a duration of zero or more seconds"),
        (", lease: 2000000h", "lease: '2000000h' is longer than 100 years"),
        (", message_ttl: 0, on_expire: drop", "message_ttl must be more than 0, not the number 0"),
        (", max_message_size: 1XB", "max_message_size: '1XB' is not a size; write it like 65536, 256KiB or 1MiB"),
        (", max_message_size: 99999999999GiB", "max_message_size: '99999999999GiB' is larger than a 64-bit number"),
        (", overflow: drop", "overflow must be 'block' or 'reject', not the text 'drop'"),
        (", ordering: keys", "ordering must be 'none' or 'key', not the text 'keys'; did you mean 'key'?"),
        (", retry: fast", "retry must be a mapping, not the text 'fast'"),
        (", retry: {initial_delay: 2m}", "initial_delay is longer than max_delay, which is 1m30s"),
        (", retry: {backoff_factor: 0.5}", "retry.backoff_factor must be at least 1, not the number 0.5"),
        (", retry: {jitter: much}", "retry.jitter must be a number, not the text 'much'"),
        (", dead_letter: {max_attempts: 3}", "the field 'dead_letter.queue' is missing"),
        (", dead_letter: [dead]", "dead_letter must be a mapping, not a list"),
        (
            ", queue_name: a/b",
            "queue_name: 'a/b' is not a queue name; use letters and digits of any language, '_', '-' and '.', "
            "at most 255 bytes, not '-' or '.' first",
        ),
        (", options: 5", "options must be a mapping, not the number 5"),
        (", driver_options: [a]", "driver_options must be a mapping, not a list"),
        (", compress: lz4", "compress.method must be 'gzip' or 'zstd', not the text 'lz4'"),
        (", compress: {above: 1KiB}", "the field 'compress.method' is missing"),
        (", compress: {method: gzip, above: 0}", "compress.above must be more than 0"),
        (", priority: 5", "unknown field 'priority'; known are: driver, options, "),
    ],
)
def test_bad_values_say_what_came_and_what_is_wanted(wrong: Wrong, fields: str, problem: str) -> None:
    assert wrong(fields).startswith(problem)


@pytest.mark.parametrize(
    ("fields", "method", "above"),
    [("gzip", "gzip", 1024), ("zstd", "zstd", 1024), ("{method: gzip, above: 4KiB}", "gzip", 4096)],
)
def test_compression_by_name_or_in_full(queue: MakeQueue, fields: str, method: str, above: int) -> None:
    compression = present(queue(f", compress: {fields}").compress).compression()
    assert (compression.method, compression.above) == (method, above)


def test_a_driver_is_required(problems: Problems) -> None:
    assert problems("  - {name: q, kind: queue.queue}\n") == [
        "3:5: app:q: the field 'driver' is missing; driver: the driver that carries it"
    ]
    assert problems("  - {name: q, kind: queue.queue, driver: 5}\n") == [
        "3:34: app:q: driver must be text, not the number 5"
    ]


def test_a_reference_cannot_be_empty(problems: Problems) -> None:
    assert "3:34: app:q: driver is empty" in problems("  - {name: q, kind: queue.queue, driver: ''}\n")


def test_signing_keys_come_from_placeholders_and_are_never_shown(queue: MakeQueue) -> None:
    fields = ", signing: {keys: [{id: b, secret: '${env:B}'}, {id: a, secret: '${env:A}'}]}"
    config = queue(fields, environ={"A": "a" * 16, "B": "b" * 16})
    signing = present(config.signing).signing()
    assert (dict(signing.keys), next(iter(signing.keys)), signing.required) == (
        {"a": b"a" * 16, "b": b"b" * 16},
        "b",
        True,
    )
    assert "a" * 16 not in repr(config) + str(config.model_dump()) + config.model_dump_json()


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        ("{id: a, secret: tiny-canary}", "at least 16 bytes"),
        ("{id: a, secret: 1234567890123456789}", "at least 16 bytes"),
        ("{id: 'a:b', secret: 0123456789abcdef}", "pattern"),
        ("{id: a, secret: 0123456789abcdef}, {id: a, secret: 0123456789abcdef}", "same id"),
    ],
)
def test_bad_signing_keys_are_refused_without_being_shown(wrong: Wrong, keys: str, problem: str) -> None:
    text = wrong(f", signing: {{keys: [{keys}]}}")
    assert problem in text
    assert not any(secret in text for secret in ("canary", "123456789"))


def test_unique(queue: MakeQueue) -> None:
    rule = present(queue(", unique: header.tenant").unique).rule()
    assert (rule.key.text, rule.span, rule.act, rule.latest) == ("header.tenant", "pending", "keep", None)
    fields = ", unique: {key: body.user.id, for: 10m, on_conflict: extend, max: 1h}"
    rule = present(queue(fields).unique).rule()
    assert (rule.key.names, rule.span, rule.act, rule.latest) == (("user", "id"), 600.0, "extend", 3600.0)
    assert queue("").unique is None


@pytest.mark.parametrize(
    ("field", "problem"),
    [
        ("unique: tenant", "'tenant' names no value of a message; write header.tenant or body.user.id"),
        ("unique: {for: 10m}", "key"),
        ("unique: {key: header.x, for: soon}", "'soon' is neither 'pending' nor 'running' nor a time such as 10m"),
        ("unique: {key: header.x, for: 0s}", "give a time that is longer than 0"),
        ("unique: {key: header.x, on_conflict: drop}", "'keep', 'replace' or 'extend'"),
        ("unique: {key: header.x, max: 1m}", "max is for on_conflict: extend"),
    ],
)
def test_unique_that_cannot_be(wrong: Wrong, field: str, problem: str) -> None:
    assert problem in wrong(f", {field}")
