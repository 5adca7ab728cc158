"""security: actors, policies and scopes as scripts see them; and what a denial looks like in the other modules."""

# ruff: noqa: E501 - a case is a line, and reads best as one

from __future__ import annotations

from typing import Any

import pytest

from tasuki.consumers.reach.guarded import guarded
from tasuki.consumers.reach.permissions import GuardedPermissions
from tasuki.errors import LuaError, PolicyDeniedError
from tasuki.kinds.stores import memory_store
from tasuki.message import Message
from tasuki.security.actor import Actor
from tasuki.security.guard import Guard
from tasuki.security.policy import Scope
from tasuki.testing.context import RecordingContext
from tests.unit.handlers.lua.support import delivery, run
from tests.unit.security.test_policy import policy

pytestmark = pytest.mark.anyio

ALLOW = policy(actions="queue.* security.* docs.*", id="app:allow")
DENY = policy("deny", resources="secret*", id="app:deny", conditions=[("meta.open", "ne", True)])
NEVER = policy("deny", id="app:never")


class SecureContext(RecordingContext):
    """A context whose actor has rights."""

    def __init__(self, guard: Guard | None) -> None:
        super().__init__(Message("m-1", b"{}", {}))
        policies = {one.id: one for one in (ALLOW, DENY, NEVER)}
        self._reach.permissions = GuardedPermissions(guard, policies, {"app:staff": Scope([ALLOW, DENY])})  # type: ignore[misc]


def secure(*policies: Any) -> SecureContext:
    return SecureContext(Guard(Actor("me", {"role": "admin", "tags": ["a"]}), Scope(policies or (ALLOW, DENY))))


@pytest.mark.parametrize(
    ("code", "result"),
    [
        ("return security.actor():id()", "me"),
        ("return security.actor():meta()", {"role": "admin", "tags": ["a"]}),
        ("local a = security.actor() a:meta().role = 'x' a:meta().tags[1] = 'x' return a:meta()", {"role": "admin", "tags": ["a"]}),
        ("local ids = {} for i, p in ipairs(security.scope():policies()) do ids[i] = p:id() end return ids", ["app:allow", "app:deny"]),
        ("return security.can('docs.read', 'x')", True),
        ("return security.can('docs.read', 'secret')", True),
        ("return security.can('docs.read', 'secret', {open = false})", False),
        ("return security.can('docs.read', 'secret', {open = true})", True),
        ("return security.can('other', 'x')", False),
        ("return security.policy('deny'):id()", "app:deny"),
        ("return security.policy('app:deny'):evaluate(security.actor(), 'a', 'secret', {open = false})", "deny"),
        ("return security.policy('app:deny'):evaluate(security.actor(), 'a', 'x')", "undefined"),
        ("return #security.named_scope('staff'):policies()", 2),
        ("return security.new_scope():evaluate(security.actor(), 'docs.x', 'y')", "undefined"),
        ("local s = security.new_scope({security.policy('allow'), 5, 'x', security.policy('allow')}) return {#s:policies(), s:evaluate(security.actor(), 'docs.x', 'y')}", [1, "allow"]),
        ("local s = security.scope():with(security.policy('never')) return {s:contains('app:never'), security.scope():contains('app:never'), s:evaluate(security.actor(), 'docs.x', 'y'), s:with(security.policy('never')):contains('app:allow')}", [True, False, "deny", True]),
        ("local s = security.scope() return {#s:without('app:deny'):policies(), #s:without({ns = 'app', name = 'deny'}):policies(), #s:without(security.policy('deny')):policies(), #s:without('app:x'):policies()}", [1, 1, 1, 2]),
        ("local a = security.new_actor('you', {n = 1}) return {a:id(), a:meta().n, security.actor():id()}", ["you", 1, "me"]),
        ("return next(security.new_actor('you'):meta()) == nil", True),
        ("return {type(security.actor()), getmetatable(security.actor())}", ["userdata", False]),
    ],
)  # fmt: skip
async def test_what_scripts_can_ask(code: str, result: Any) -> None:
    assert await run(code, context=secure()) == result


async def test_nobody_in_particular() -> None:
    code = "return {security.actor() == nil, security.scope() == nil, security.can('a', 'b'), security.new_actor('x'):id()}"
    for context in (delivery(), SecureContext(None)):
        assert await run(code, context=context) == [True, True, False, "x"]
    with pytest.raises(LuaError, match="not allowed to create actor with ID: x"):
        await run(code, context=SecureContext(Guard(strict=True)))
    ok = "local p, e = security.policy('x') return {p == nil, e:kind(), e:message()}"
    assert await run(ok) == [True, "Internal", "security is not available in this context"]


FAILED = "local ok, err = %s return {ok == nil, err:kind(), err:message(), err:retryable()}"


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        ("security.policy('nothing')", [True, "Internal", "policy not found: nothing", False]),
        ("security.named_scope('nothing')", [True, "Internal", "policy group not found: nothing", False]),
        ("security.token_store('')", [True, "Invalid", "token store id is required", False]),
        ("security.token_store('x')", [True, "Internal", "there are no token stores in this version", False]),
    ],
)
async def test_what_there_is_not(call: str, expected: list[Any]) -> None:
    assert await run(FAILED % call, context=secure()) == expected


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("security.policy('deny')", "permission denied: access policy"),
        ("security.named_scope('staff')", "permission denied: access policy group"),
    ],
)
async def test_looking_up_may_be_denied(call: str, message: str) -> None:
    context = secure(policy(actions="queue.*"))
    assert await run(FAILED % call, context=context) == [True, "Invalid", message, False]


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("security.new_actor('root')", "script.lua:1: not allowed to create actor with ID: root"),
        ("security.new_scope()", "script.lua:1: not allowed to create custom scopes"),
        ("security.scope():without('x')", "script.lua:1: not allowed to remove policy from scope"),
        ("security.can(nil, 'x')", "bad argument #1 to can"),
        ("security.can('x', {})", "bad argument #2 to can"),
        ("security.can('x', 'y', 5)", "bad argument #3 to can"),
        ("security.new_actor({})", "bad argument #1 to new_actor"),
        ("security.new_scope(5)", "bad argument #1 to new_scope"),
        ("security.scope():with(5)", "bad argument #1 to with"),
        ("security.scope():contains(true)", "bad argument #1 to contains"),
        ("security.scope():evaluate(5, 'a', 'b')", "bad argument #1 to evaluate"),
        ("security.actor().id({})", "security.Actor expected"),
        ("security.actor().id(security.scope())", "security.Actor expected"),
        ("security.actor().x = 1", "attempt to modify a security.Actor"),
    ],
)
async def test_what_raises(code: str, message: str) -> None:
    with pytest.raises(LuaError) as caught:
        await run(code, context=secure(policy(actions="x")))
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("queue.publish()", "queue publishing not allowed"),
        ("queue.publish('')", "queue publishing not allowed"),
        ("queue.publish('q')", "not allowed to publish to queue: app:q"),
        ("queue.publish('q', {})", "not allowed to publish to queue: app:q"),
        ("queue.publish('q', 1, nil, {odd = 1})", "not allowed to publish to queue: app:q"),
    ],
)
async def test_that_publishing_is_denied_comes_before_all_else(call: str, message: str) -> None:
    context = secure(policy(actions="x"))
    assert await run(FAILED % call, context=context) == [True, "Invalid", message, False]


async def test_a_publish_that_is_allowed_hears_what_is_wrong_with_it() -> None:
    assert (await run(FAILED % "queue.publish()", context=secure()))[2] == "queue ID required"
    assert (await run(FAILED % "queue.publish('q')", context=secure()))[2] == "message data required"


async def test_a_denied_variable() -> None:
    context = delivery()
    context._reach.env = lambda name: (_ for _ in ()).throw(PolicyDeniedError("not allowed to access it"))  # type: ignore[method-assign]
    expected = [True, "PermissionDenied", "not allowed to access it", False]
    assert await run(FAILED % "env.get('A')", context=context) == expected


def with_store(*actions: str) -> RecordingContext:
    context = delivery()
    guard = Guard(Actor("me"), Scope([policy(actions=" ".join(actions), conditions=[("meta.key", "ne", "k")])]))
    context.resources["app:s"] = guarded(memory_store("app:s"), "app:s", guard)
    return context


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("s:get('k')", "not allowed to read key: k"),
        ("s:set('k', 1)", "not allowed to write key: k"),
        ("s:has('k')", "not allowed to check key existence: k"),
        ("s:delete('k')", "not allowed to delete key: k"),
    ],
)
async def test_denied_keys_raise(call: str, message: str) -> None:
    with pytest.raises(LuaError, match=f"script.lua:1: {message}"):
        await run(f"local s = store.get('app:s') {call}", context=with_store("store.*"))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("s:entry('k')", "not allowed to read key: k"),
        ("s:put('k', 1)", "not allowed to write key: k"),
        ("s:list()", "not allowed to list keys"),
        ("s:info()", "not allowed to see store: app:s"),
    ],
)
async def test_the_others_return_what_is_denied(call: str, message: str) -> None:
    code = "local s = store.get('app:s') " + FAILED % call
    assert await run(code, context=with_store("store.key.get")) == [True, "PermissionDenied", message, False]


async def test_other_keys_are_allowed() -> None:
    code = (
        "local s = store.get('app:s') s:set('x', 1) return {s:get('x'), s:has('x'), s:delete('x'), s:entry('x') == nil}"
    )
    assert await run(code, context=with_store("store.*")) == [1, True, True, True]


async def test_a_store_that_may_not_be_opened() -> None:
    context = delivery()
    context._reach.resource = lambda id: (_ for _ in ()).throw(PolicyDeniedError(f"not allowed to access store: {id}"))  # type: ignore[method-assign]
    with pytest.raises(LuaError, match=r"script\.lua:1: not allowed to access store: app:s"):
        await run("store.get('app:s')", context=context)
