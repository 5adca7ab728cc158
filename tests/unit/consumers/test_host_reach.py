from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tasuki.consumers.reach.guarded import GuardedStore, guarded
from tasuki.consumers.reach.host_reach import call_context
from tasuki.consumers.reach.permissions import GuardedPermissions
from tasuki.contracts.state.following import StartedGroup
from tasuki.errors import HandlerError, HandlerNotFoundError, PolicyDeniedError
from tasuki.kinds.stores import memory_store
from tasuki.message import Message
from tasuki.queues.queue import Envelope
from tasuki.queues.result import Rejected
from tasuki.security.actor import Actor
from tasuki.security.guard import Guard
from tasuki.security.policy import Scope
from tasuki.testing.context import RecordingContext
from tests.unit.consumers.parts import FakeHost, guard_of, make_bench
from tests.unit.security.test_policy import policy

pytestmark = pytest.mark.anyio


@pytest.fixture
def host() -> FakeHost:
    return FakeHost()


def test_a_call_without_a_delivery(host: FakeHost) -> None:
    context = call_context(host, "app:f")
    assert (context.delivery.function, context.message, context.attempt) == ("app:f", None, 0)
    assert (context.queue, context.delivery.consumer, context.stopping, context.delivery.lease_lost) == (
        "",
        "",
        False,
        False,
    )
    assert isinstance(context.logger, logging.Logger)
    assert context.logger.name == "tasuki.function.app:f"
    for settle in (context.ack, context.nack, context.reject):
        with pytest.raises(HandlerError, match="no message to settle") as caught:
            settle()
        assert caught.value.kind == "Invalid"


def test_a_call_within_a_delivery_acts_on_that(host: FakeHost) -> None:
    message = Message("1", b"x", {})
    for settle, settled in (("ack", ("ack",)), ("nack", ("nack", None)), ("reject", ("reject", ""))):
        parent = RecordingContext(message, attempt=2)
        parent.is_stopping = parent.is_lease_lost = True
        context = call_context(host, "other:f", parent)
        assert (context.delivery.function, context.message, context.attempt) == ("other:f", message, 2)
        assert (context.queue, context.delivery.consumer) == ("app:queue", "app:consumer")
        assert context.stopping
        assert context.delivery.lease_lost
        assert context.logger is parent.logger
        getattr(context, settle)()
        assert parent.settled == [settled]


async def test_bare_names_are_of_the_functions_own_namespace(host: FakeHost) -> None:
    context = call_context(host, "shop:f")
    assert await context.publish("tasks", 1, {"a": 1}, delay=5) == "id"
    assert await context.publish("app:tasks", 2) == "id"
    assert await context.call("g", 1, 2) == "result"
    assert await context.queues.info("tasks") == {"queue": "shop:tasks"}
    assert host.calls == [
        ("publish", "shop:tasks", 1, {"a": 1}, {"delay": 5}),
        ("publish", "app:tasks", 2, None, {}),
        ("call", context, "shop:g", (1, 2)),
        ("info", "shop:tasks"),
    ]
    with pytest.raises(HandlerError, match="shop:store"):
        context.project.resource("store")
    assert context.project.env("NAME") == "shop/NAME"


async def test_what_follows_is_named_in_the_namespace_of_the_function(host: FakeHost) -> None:
    context = call_context(host, "shop:f")
    await context.publish("jobs", 1, then=None, on_error=None)
    assert await context.publish("jobs", 1, then="ends") == "id"
    assert await context.group([], then="ends", id="mine") == StartedGroup("g", [])
    options = {"then": "ends", "on_error": None}
    assert host.calls == [
        ("publish", "shop:jobs", 1, None, {}),
        ("chain", None, "shop:jobs", "shop:jobs", 1, None, options),
        ("group", None, "shop:jobs", [], "ends", None, "mine"),
    ]


async def test_values_hold_for_what_is_called_and_below(host: FakeHost) -> None:
    context = call_context(host, "app:f")
    assert context.delivery.values == {}
    await context.call("g", 1, values={"a": 1, "b": 1})
    _, outer, function, args = host.calls.pop()
    assert (function, args, dict(outer.delivery.values)) == ("app:g", (1,), {"a": 1, "b": 1})
    inner = call_context(host, "app:g", outer)
    assert inner.delivery.values == outer.delivery.values
    await inner.call("h", values={"b": 2})
    assert dict(host.calls.pop()[1].delivery.values) == {"a": 1, "b": 2}
    assert (dict(inner.delivery.values), context.delivery.values) == ({"a": 1, "b": 1}, {})


@pytest.mark.parametrize("values", [5, "ab", ["a"], [("a", 1)], {1: 2}])
async def test_values_that_are_none_are_refused(host: FakeHost, values: Any) -> None:
    with pytest.raises(HandlerError, match="values are a mapping") as caught:
        await call_context(host, "app:f").call("g", values=values)
    assert (caught.value.kind, host.calls) == ("Invalid", [])


async def test_a_call_in_another_name(host: FakeHost) -> None:
    context = call_context(host, "app:f")
    await context.call("g", actor={"id": "you"})
    assert host.calls.pop(0) == ("guard", None, {"id": "you"}, None)
    changed = host.calls.pop()[1]
    assert guard_of(changed).actor.id == "you"  # type: ignore[union-attr]
    assert guard_of(call_context(host, "app:g", changed)) is guard_of(changed)
    await context.call("g")
    assert guard_of(host.calls.pop()[1]) is None


def test_a_function_that_is_not_there_is_known_before_the_call(host: FakeHost) -> None:
    context = call_context(host, "app:f")
    context.project.check_call("g")
    with pytest.raises(HandlerNotFoundError, match="'app:missing' is not defined"):
        context.project.check_call("missing")


def test_settings_are_those_of_the_host(host: FakeHost) -> None:
    context = call_context(host, "shop:f")
    context.project.set_env("NAME", "value")
    assert host.calls == [("set_env", "NAME", "value", "shop")]
    assert context.project.env_all() == {"OPEN": "1", "CLOSED": "2"}


def guard(*policies: Any) -> Guard:
    return Guard(Actor("me"), Scope(policies))


class Host(FakeHost):
    """A host with a store."""

    def resource_of(self, id: str) -> Any:
        self.calls.append(("resource", id))
        return memory_store(id) if id.endswith("store") else object()


async def test_each_way_out_asks_first() -> None:
    host = Host()
    context = call_context(host, "app:f", None, guard())
    asked: list[tuple[str, Callable[[], Awaitable[object]]]] = [
        ("not allowed to publish to queue: app:q", lambda: context.publish("q", 1)),
        ("not allowed: other:g", lambda: context.call("other:g")),
        ("not allowed to see queue: app:q", lambda: context.queues.info("q")),
    ]
    for problem, ask in asked:
        with pytest.raises(PolicyDeniedError, match=f"^{problem}$"):
            await ask()
    with pytest.raises(PolicyDeniedError, match=r"^not allowed to access store: app:store$"):
        context.project.resource("store")
    with pytest.raises(PolicyDeniedError, match=r"^not allowed to access store: app:store$"):
        context.store("store")
    with pytest.raises(PolicyDeniedError, match=r"^not allowed to access environment variable: NAME$"):
        context.project.env("NAME")
    assert host.calls == []


@pytest.mark.parametrize("reply_to", ["app:secret", "secret"])
async def test_replies_go_only_where_their_asker_may_publish(reply_to: str) -> None:
    host = Host()
    context = call_context(host, "other:f", None, guard(policy(actions="queue.publish.queue", resources="app:q")))
    with pytest.raises(PolicyDeniedError, match=r"^not allowed to publish to queue: app:secret$"):
        await context.publish("app:q", 1, {"reply_to": reply_to})
    assert host.calls == []
    for allowed in ("app:q", "q", 5):
        await context.publish("app:q", 1, {"reply_to": allowed})
    assert len(host.calls) == 3


async def test_other_circumstances_need_permission() -> None:
    host = Host()
    only_calls = call_context(host, "app:f", None, guard(policy(actions="funcs.call env.*", resources="app:g OPEN")))
    for options, problem in (
        ({"values": {}}, "not allowed to call functions with custom context"),
        ({"actor": {"id": "root"}}, "not allowed to call functions with custom security context"),
        ({"scope": []}, "not allowed to call functions with custom security context"),
    ):
        with pytest.raises(PolicyDeniedError, match=f"^{problem}$"):
            await only_calls.call("g", **options)
    asked: list[Callable[[], object]] = [
        lambda: only_calls.project.check_call("h"),
        lambda: only_calls.project.set_env("CLOSED", "x"),
    ]
    for ask in asked:
        with pytest.raises(PolicyDeniedError, match=r"^not allowed"):
            ask()
    assert host.calls == []
    assert only_calls.project.env_all() == {"OPEN": "1"}
    with pytest.raises(PolicyDeniedError, match=r"^not allowed: app:h$"):
        await only_calls.call("h", values={})


@pytest.mark.parametrize("denied", ["SECRET", "app:secret"])
@pytest.mark.parametrize("name", ["SECRET", "secret", "app:secret"])
async def test_what_a_setting_is_denied_by_one_name_is_denied_by_all(denied: str, name: str) -> None:
    host = Host()
    no = policy(id="app:no", actions="env.*", resources=denied, effect="deny")
    context = call_context(host, "app:f", None, guard(policy(), no))
    asked: list[Callable[[], object]] = [lambda: context.project.env(name), lambda: context.project.set_env(name, "x")]
    for ask in asked:
        with pytest.raises(PolicyDeniedError, match=rf"^not allowed to \w+ environment variable: {name}$"):
            ask()
    assert host.calls == []
    assert context.project.env("OPEN") == "app/OPEN"


async def test_what_is_allowed_goes_on_as_without_a_guard() -> None:
    host = Host()
    context = call_context(host, "app:f", None, guard(policy()))
    await context.publish("q", 1)
    await context.queues.info("q")
    context.project.env("NAME")
    assert isinstance(context.project.resource("store"), GuardedStore)
    assert not isinstance(context.project.resource("thing"), GuardedStore)
    assert not isinstance(call_context(host, "app:f").project.resource("store"), GuardedStore)


async def test_what_a_function_calls_has_the_rights_of_its_caller_whatever_it_is_given() -> None:
    mine = guard(policy())
    inner = call_context(FakeHost(), "app:g", call_context(FakeHost(), "app:f", None, mine), Guard())
    assert guard_of(inner) is mine


def test_the_actor_cannot_be_changed_through_what_is_told_of_it() -> None:
    me = Actor("me", {"tags": ["a"]})
    told = permissions(Guard(me, Scope())).actor()
    assert told is not None
    told["meta"]["tags"].append("admin")
    assert me.meta == {"tags": ["a"]}


async def test_a_delivery_has_the_rights_of_its_consumer() -> None:
    seen = []

    async def look(body: Any, context: Any) -> None:
        seen.append(guard_of(context))

    bench = await make_bench(look)
    bench.consumer.guard = guard(policy())
    await bench.queue.publish(1)
    await bench.consumer.start()
    await bench.empty()
    await bench.consumer.stop(1)
    assert seen == [bench.consumer.guard]


async def test_a_consumer_that_may_not_consume_does_not_begin() -> None:
    bench = await make_bench()
    bench.consumer.guard = guard()
    with pytest.raises(PolicyDeniedError, match=r"app:tasks \(actor 'me': no policy allows it\)"):
        await bench.consumer.start()
    assert (bench.handler.starts, bench.queue.consumer_count) == (0, 0)


async def test_a_queue_behind_a_guard_is_the_same_queue() -> None:
    bench = await make_bench()
    may = bench.queue.guarded_by(guard(policy()))
    await may.publish(1)
    assert await may.publish_many([2])
    assert await may.info() == await bench.queue.info()
    assert (await may.depth()).ready == 2
    assert bench.queue.metrics.published == 2
    assert [len(await may.peek()), await may.purge()] == [2, 2]
    to_itself = bench.queue.guarded_by(guard(policy(resources="app:tasks")))
    with pytest.raises(PolicyDeniedError, match=r"app:secret$"):
        await to_itself.publish(1, {"reply_to": "app:secret"})
    results = await to_itself.publish_many(
        [Envelope(body=1, headers={"reply_to": name}, id=name) for name in ("secret", "tasks", "app:secret")]
    )
    denied = [result.id for result in results if isinstance(result, Rejected)]
    assert denied == ["secret", "app:secret"]
    assert await bench.queue.purge() == 1
    may_not = bench.queue.guarded_by(guard())
    for call in (may_not.publish(1), may_not.publish_many([1]), may_not.peek(), may_not.purge(), may_not.depth()):
        with pytest.raises(PolicyDeniedError):
            await call
    await bench.queue.publish(1)


async def test_a_store_behind_a_guard() -> None:
    rights = guard(policy(actions="store.*", resources="app:s", conditions=[("meta.key", "ne", "k")]))
    store = guarded(memory_store("app:s"), "app:s", rights)
    await store.set("x", 1, ttl=5.0)
    assert (await store.get("x"), await store.has("x")) == (1, True)
    assert ((await store.put("x", 2))["value"], (await store.entry("x"))["value"]) == (2, 2)
    assert await store.delete(key="x")
    assert store.id == "app:s"
    assert await store.hold("x", "me", lease=1)
    asked = [store.get, store.entry, store.has, store.delete, store.take, store.give, store.hold, store.release]
    for ask in (*asked, lambda key: store.set(key, 1), lambda key: store.put(key, 1)):
        with pytest.raises(PolicyDeniedError):
            ask("k")
    for ask_all in (store.list, store.info):
        with pytest.raises(PolicyDeniedError):
            ask_all()


async def test_lists_are_judged_by_their_prefix() -> None:
    store = guarded(memory_store("s"), "s", guard(policy(conditions=[("meta.prefix", "eq", "a")])))
    assert (await store.list("a"))["items"] == (await store.list(prefix="a"))["items"] == []
    with pytest.raises(PolicyDeniedError):
        store.list()
    assert (await guarded(memory_store("s"), "s", guard(policy())).info())["id"] == "s"


async def test_a_handle_asks_for_each_key() -> None:
    opens = policy(id="opens", actions="store.get", resources="app:store")
    rights = guard(opens, policy(actions="store.key.*", conditions=[("meta.key", "ne", "k")]))
    store = call_context(Host(), "app:f", None, rights).store("store")
    await store.set("x", 1)
    for refused in (store.get("k"), store.set("k", 1), store.take("k", rate=1, burst=1), store.info()):
        with pytest.raises(PolicyDeniedError):
            await refused


def permissions(rights: Guard | None) -> GuardedPermissions:
    policies = {"a": policy(id="a"), "d": policy("deny", id="d", conditions=[("actor.meta.bad", "eq", True)])}
    return GuardedPermissions(rights, policies, {"g": Scope([policies["a"]])})


def test_permissions_in_plain_data() -> None:
    mine = permissions(guard(policy(id="x", actions="may security.*")))
    assert (mine.actor(), mine.scope()) == ({"id": "me", "meta": {}}, ["x"])
    assert (mine.can("may", "r"), mine.can("other", "r")) == (True, False)
    assert (mine.has_policy("a"), mine.has_policy("x"), mine.group("g"), mine.group("x")) == (True, False, ["a"], None)
    who = {"id": "you", "meta": {"bad": True}}
    assert mine.evaluate(["a", "d", "gone"], who, "x", "y") == "deny"
    assert mine.evaluate(["a", "d"], {"id": "you"}, "x", "y") == "allow"
    mine.require("may", "r", "no")
    with pytest.raises(PolicyDeniedError, match="no"):
        mine.require("other", "r", "no")
    with pytest.raises(PolicyDeniedError):
        mine.publish("app:q")


def test_the_permissions_of_nobody() -> None:
    nobody = permissions(None)
    assert (nobody.actor(), nobody.scope(), nobody.can("a", "b")) == (None, None, False)
    nobody.require("a", "b", "no")
    nobody.publish("app:q")
