"""The AsyncAPI document of a project: what each entry becomes, that it is valid, and that it holds no secret."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from tasuki import App
from tasuki import message as header
from tasuki.drivers import NATS, SQS, Memory, PostgreSQL, RabbitMQ, Redis, SQLite
from tasuki.kinds.asyncapi.document import asyncapi_of
from tasuki.kinds.asyncapi.messages import HEADERS
from tests.support.asyncapi import payload_validator, problems
from tests.unit.kinds.conftest import Make


class Mail(msgspec.Struct):
    to: str
    subject: str = ""


def checked(app: App) -> dict[str, Any]:
    document = app.asyncapi(title="Shop", version="1.2.0")
    assert problems(document) == []
    return document


def shop() -> App:
    app = App(Memory(), namespace="shop")
    mails = app.queue("mails", Mail, dead_letter={"queue": "mails.dead", "max_attempts": 3}, limit="10/s")
    jobs = app.queue("jobs")

    @mails.consumer(concurrency=4)
    async def send(mail: Mail) -> int:
        return len(mail.to)

    @jobs.task
    async def bill(number: int, mail: Mail | None = None) -> None: ...

    app.schedules.add("nightly", jobs, cron="0 9 * * *", task="bill", body={"number": 1})
    return app


def test_a_typed_queue_is_a_channel_with_its_rules() -> None:
    document = checked(shop())
    channel = document["channels"]["shop.mails"]
    assert document["info"] == {"title": "Shop", "version": "1.2.0"}
    assert channel["address"] == "mails"
    assert channel["servers"] == [{"$ref": "#/servers/shop.driver"}]
    assert channel["x-tasuki-dead-letter"] == {
        "queue": "shop:mails.dead",
        "channel": "shop.mails.dead",
        "max_attempts": 3,
    }
    assert channel["x-tasuki-limit"] == [{"rate": 10.0}]
    assert channel["x-tasuki-retry"]["max_delay"] == 90.0
    assert "x-tasuki-fair" not in channel
    dead = document["channels"]["shop.mails.dead"]
    assert dead["messages"] == channel["messages"]  # a dead letter is a message of its queue


def test_a_message_has_its_type_headers_and_correlation() -> None:
    document = checked(shop())
    message = document["components"]["messages"]["shop.mails"]
    assert message["name"] == "Mail"
    assert message["contentType"] == "application/json"
    assert message["payload"] == {"$ref": "#/components/schemas/Mail"}
    assert message["correlationId"] == {"location": "$message.header#/correlation_id"}
    assert message["headers"] == {"$ref": "#/components/schemas/TasukiHeaders"}
    valid = payload_validator(document, "shop.mails").is_valid
    assert valid(json.loads(msgspec.json.encode(Mail("ada"))))
    assert not valid({"subject": "no address"})


def test_each_header_with_a_meaning_is_described() -> None:
    names = {value for name, value in vars(header).items() if name.isupper() and isinstance(value, str)}
    assert set(HEADERS["properties"]) == names - {header.RESERVED_PREFIX}


def test_a_consumer_receives_and_replies_with_the_type_of_its_result() -> None:
    document = checked(shop())
    operation = document["operations"]["shop.send.consumer"]
    assert (operation["action"], operation["channel"]) == ("receive", {"$ref": "#/channels/shop.mails"})
    assert operation["x-tasuki-concurrency"] == 4
    reply = operation["reply"]
    assert reply["address"]["location"] == "$message.header#/reply_to"
    assert [each["$ref"].rpartition("/")[2] for each in reply["messages"]] == ["shop.mails.reply", "TasukiError"]
    assert document["components"]["messages"]["shop.mails.reply"]["payload"] == {"type": "integer"}
    assert document["channels"]["shop.driver.replies"]["address"] is None
    assert "reply" not in document["operations"]["shop.jobs.workers"]  # its task returns None


def test_a_task_is_a_message_with_its_arguments() -> None:
    document = checked(shop())
    message = document["components"]["messages"]["shop.jobs.bill"]
    assert message["headers"]["allOf"][1]["properties"] == {"message_type": {"const": "bill"}}
    valid = payload_validator(document, "shop.jobs.bill").is_valid
    assert valid({"number": 1})
    assert valid({"number": 1, "mail": {"to": "ada"}})
    assert not valid({"number": 1, "mail": {}})
    assert not valid({"number": 1, "other": 2})
    assert not valid({})


def test_publishers_send() -> None:
    operations = checked(shop())["operations"]
    sending = {key: each for key, each in operations.items() if each["action"] == "send"}
    assert set(sending) == {"shop.nightly", "shop.mails.send", "shop.jobs.send"}
    assert sending["shop.nightly"]["x-tasuki-schedule"]["cron"] == "0 9 * * *"
    assert sending["shop.nightly"]["messages"] == [{"$ref": "#/channels/shop.jobs/messages/shop.jobs.bill"}]
    assert sending["shop.mails.send"]["x-tasuki-declared-by"] == ["type"]
    assert sending["shop.jobs.send"]["x-tasuki-declared-by"] == ["tasks"]


def test_a_queue_that_is_only_consumed_is_not_sent_to() -> None:
    app = App(Memory())

    @app.queue("mails").consumer
    async def send(mail: Mail) -> None: ...

    document = checked(app)
    assert set(document["operations"]) == {"app.send.consumer"}
    assert document["components"]["messages"]["app.mails"]["payload"] == {"$ref": "#/components/schemas/Mail"}


POLICIES = """
  - {name: driver, kind: queue.driver.memory}
  - {name: mails, kind: queue.queue, driver: driver}
  - {name: jobs, kind: queue.queue, driver: driver, codec: msgpack}
  - name: web
    kind: security.policy
    policy: {actions: queue.publish.queue, resources: "app:mails", effect: allow}
  - name: all
    kind: security.policy
    policy: {actions: "*", resources: "*", effect: allow}
  - name: no
    kind: security.policy
    policy: {actions: "queue.*", resources: "app:jobs", effect: deny}
"""


def test_a_policy_that_names_a_publish_sends(project: Make) -> None:
    document = asyncapi_of(project(POLICIES))
    assert problems(document) == []
    assert {key: each["x-tasuki-declared-by"] for key, each in document["operations"].items()} == {
        "app.mails.send": ["app:web"]
    }
    messages = document["components"]["messages"]
    assert messages["app.jobs"]["contentType"] == "application/msgpack"
    assert "payload" not in messages["app.jobs"]  # anything


SECRET = "hunter2-hunter2-hunter2"
DRIVERS = {
    "amqp": (
        RabbitMQ(f"amqps://user:{SECRET}@one:5671,two/shop%2Fx"),
        [("amqps", "one:5671", "/shop/x"), ("amqps", "two", "/shop/x")],
    ),
    "redis": (Redis(f"redis://user:{SECRET}@one:6380/2"), [("redis", "one:6380", "/2")]),
    "addrs": (
        Redis(addrs="one:6379,two:6379", password=SECRET),
        [("redis", "one:6379", None), ("redis", "two:6379", None)],
    ),
    "socket": (Redis(f"unix://user:{SECRET}@/run/redis.sock?db=1"), [("redis", "localhost", "/run/redis.sock")]),
    "nats": (
        NATS([f"nats://u:{SECRET}@one:4222", "nats://two:4222"]),
        [("nats", "one:4222", None), ("nats", "two:4222", None)],
    ),
    "postgres": (
        PostgreSQL(f"postgresql://u:{SECRET}@one,two:5433/shop?sslmode=require&password={SECRET}"),
        [("postgresql", "one", "/shop"), ("postgresql", "two:5433", "/shop")],
    ),
    "pgsocket": (PostgreSQL("postgresql:///shop?host=/run/postgresql"), [("postgresql", "localhost", "/shop")]),
    "sqlite": (SQLite("shop.db"), [("sqlite", "localhost", "shop.db")]),
    "memory": (Memory(), [("memory", "localhost", None)]),
    "sqs": (SQS(), [("sqs", "sqs.{region}.amazonaws.com", None)]),
    "local": (SQS(endpoint=f"http://u:{SECRET}@localhost:4566/"), [("sqs", "localhost:4566", "/")]),
}


@pytest.mark.parametrize("name", DRIVERS)
def test_a_driver_is_servers_without_secrets(name: str) -> None:
    driver, places = DRIVERS[name]
    app = App(driver)
    app.queue("mails", signing={"keys": [{"id": "a", "secret": SECRET}]})
    document = checked(app)
    servers = document["servers"].values()
    assert [(each["protocol"], each["host"], each.get("pathname")) for each in servers] == places
    assert len(document["channels"]["app.mails"]["servers"]) == len(places)
    assert document["channels"]["app.mails"]["x-tasuki-signed"] == "required"
    assert "hunter2" not in json.dumps(document)


def test_bindings_of_amqp_and_sqs() -> None:
    app = App(RabbitMQ("amqp://localhost/shop"))
    app.entry("aws", "config.aws", {"region": "eu-central-1"})
    app.entry("sqs", SQS(config="aws"))
    app.queue("mails", str)
    app.queue("orders", driver="sqs", ordering="key", lease="45s", options={"message_retention_period": "1h"})
    document = checked(app)
    assert document["servers"]["app.sqs"]["host"] == "sqs.eu-central-1.amazonaws.com"
    assert document["channels"]["app.mails"]["bindings"]["amqp"]["queue"] == {
        "name": "mails", "durable": True, "exclusive": False, "autoDelete": False, "vhost": "shop",
    }  # fmt: skip
    assert document["channels"]["app.orders"]["bindings"]["sqs"]["queue"] == {
        "name": "orders.fifo", "fifoQueue": True, "visibilityTimeout": 45, "messageRetentionPeriod": 3600,
    }  # fmt: skip
    assert document["operations"]["app.mails.send"]["bindings"]["amqp"]["deliveryMode"] == 2


def test_hostile_names_get_keys_that_need_no_escape() -> None:
    app = App(Memory(), namespace="a.b")
    jobs = app.queue("c")
    names = ["請求", "a/b~1", "x" * 200, "a b", "a_b", "$ref", "{id}", "..", "\N{RIGHT-TO-LEFT OVERRIDE}x"]
    for name in names:

        async def task(number: int) -> int:
            return number

        jobs.task(name=name)(task)
    document = checked(app)
    messages = document["components"]["messages"]
    tasks = {each["x-tasuki-task"] for each in messages.values() if "x-tasuki-task" in each}
    assert tasks == set(names)
    assert len(document["channels"]["a.b.c"]["messages"]) == len(names)


def test_ids_that_differ_only_in_where_the_colon_is_have_different_keys(project: Make) -> None:
    app = App(Memory(), namespace="a")
    app.queue("b.c", str)
    app.queue("a.b:c", str, driver="a:driver")
    document = checked(app)
    assert len(document["channels"]) == 2
    assert {each["x-tasuki-queue"] for each in document["channels"].values()} == {"a:b.c", "a.b:c"}


def test_the_same_project_gives_the_same_bytes() -> None:
    assert json.dumps(shop().asyncapi()) == json.dumps(shop().asyncapi())


def test_a_dead_letter_queue_of_several_queues_has_the_messages_of_all() -> None:
    app = App(Memory())
    app.queue("mails", Mail, dead_letter="dead")
    app.queue("numbers", int, dead_letter="dead")

    @app.queue("dead").consumer
    async def bury(body: Any) -> None: ...

    document = checked(app)
    assert list(document["channels"]["app.dead"]["messages"]) == ["app.mails", "app.numbers"]
    assert len(document["operations"]["app.bury.consumer"]["messages"]) == 2
    assert "app.dead" not in document["components"]["messages"]


def break_server(document: dict[str, Any]) -> None:
    del document["servers"]["shop.driver"]


def break_message(document: dict[str, Any]) -> None:
    document["operations"]["shop.mails.send"]["messages"] = [{"$ref": "#/components/messages/shop.mails"}]


def break_schema(document: dict[str, Any]) -> None:
    document["components"]["schemas"]["Mail"]["type"] = "struct"


def break_key(document: dict[str, Any]) -> None:
    document["channels"]["a/b"] = {"address": "a"}


def break_field(document: dict[str, Any]) -> None:
    document["channels"]["shop.mails"]["queue"] = "mails"


@pytest.mark.parametrize("spoil", [break_server, break_message, break_schema, break_key, break_field])
def test_the_check_of_these_tests_finds_mistakes(spoil: Callable[[dict[str, Any]], None]) -> None:
    document = shop().asyncapi()
    spoil(document)
    assert problems(document)
