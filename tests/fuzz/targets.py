"""Functions from bytes to nothing, each of which raises only for a defect."""

from __future__ import annotations

import asyncio
import json as stdlib_json
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from tasuki.errors import CodecError, ConfigError, HandlerError, ProjectError
from tasuki.handlers.lua import LuaHandler, LuaSource
from tasuki.handlers.lua.script import LuaScript
from tasuki.handlers.lua.types import strip
from tasuki.kinds.check.project import check
from tasuki.kinds.check.rights import Rights
from tasuki.message import Message
from tasuki.queues.messages.codec import JsonCodec, MsgpackCodec
from tasuki.registry.loader import load
from tasuki.security.actor import Actor, Request
from tasuki.security.condition import parse_condition
from tasuki.security.expressions.expression import parse_expression
from tasuki.security.guard import Guard
from tasuki.security.policy import Policy, Scope, parse_pattern
from tasuki.testing.context import RecordingContext
from tests.fuzz import policies, protocols
from tests.fuzz.choices import Choices
from tests.fuzz.typed import program
from tests.fuzz.values import through_lua
from tests.fuzz.values import value as value_of
from tests.properties.test_policies import outcome, ref_condition, ref_matches

# The value itself, and what json makes of it where it is the same there: no numbers that json writes as others.
_ECHO = """
local function same(v)
    if type(v) == "table" then
        for key, item in pairs(v) do
            if math.type(key) or not same(item) then return false end
        end
        return true
    end
    return v == nil or type(v) == "boolean" or math.type(v) == "integer" or type(v) == "string" and utf8.len(v)
end
return function(value)
    local text = same(value) and json.encode(value)
    return {value, text and json.decode(text) or "no json"}
end
"""


def loader(data: bytes) -> None:
    """A file of these bytes is a project, or errors that each have a place."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "p.yaml").write_bytes(b"namespace: app\n" + data)
        problems: list[ConfigError] = []
        try:
            check(load(Path(folder), environ={}))
        except ProjectError as error:
            problems = error.errors
        assert all(problem.position and str(problem) for problem in problems)


def _codec(codec: JsonCodec | MsgpackCodec, data: bytes) -> None:
    try:
        value = codec.decoder()(data)
        again = codec.encode(value)
    except (CodecError, HandlerError):
        return
    assert codec.encode(codec.decoder()(again)) == again


def json(data: bytes) -> None:
    """These bytes are a value that is written and read as the same, or a CodecError."""
    _codec(JsonCodec(), data)


def msgpack(data: bytes) -> None:
    """The same for MessagePack."""
    _codec(MsgpackCodec(), data)


def pattern(data: bytes) -> None:
    """A policy's pattern matches what the slow reference says, or is refused."""
    text, _, value = data.decode("utf-8", "replace").partition("\n")
    try:
        parsed = parse_pattern(text)
    except ValueError:
        return
    assert parsed.matches(value) == ref_matches(text, value)


def stripper(data: bytes) -> None:
    """A stripped source keeps its lines."""
    source = data.decode("utf-8", "replace")
    assert strip(source).count("\n") == source.count("\n")


def policy(data: bytes) -> None:
    """Policies with conditions or an expression say, alone and together, what the slow reference says."""
    choices = Choices(data)
    asked = policies.request(choices)
    made = [policies.policy(choices) for _ in range(1 + choices.below(3))]
    built = [
        Policy(
            str(number),
            tuple(map(parse_pattern, one["actions"])),
            tuple(map(parse_pattern, one["resources"])),
            one["effect"],
            tuple(parse_condition(*parts) for parts in one["conditions"]),
            None if one["tree"] is None else parse_expression(one["text"]),
        )
        for number, one in enumerate(made)
    ]
    for one, policy in zip(made, built, strict=True):
        for parts, condition in zip(one["conditions"], policy.conditions, strict=True):
            assert outcome(condition.holds, asked) == outcome(ref_condition, asked, *parts), parts
        if policy.expression is not None:
            assert outcome(policy.expression.node, asked) == outcome(policies.ask, one["tree"], asked), one["text"]
        assert policy.judge(asked).ruling == policies.says(one, asked), one
    assert Scope(built).evaluate(asked) == policies.together(made, asked)


def rights(data: bytes) -> None:
    """Policies, groups and identities written as YAML decide as the slow reference does, for a publish too."""
    choices = Choices(data)
    made = [policies.policy(choices) | {"groups": choices.take(2).hex()} for _ in range(1 + choices.below(3))]
    actor: dict[str, Any] = {"id": choices.pick(policies.WORDS[1:]), "meta": policies.meta(choices)}
    strict, has_actor, group = choices.flag(), choices.below(4) > 0, choices.pick("0123456789abcdef")
    members = [one for one in made if group in one["groups"]]
    picked = [number for number in range(len(made)) if choices.flag()]
    entries = [_policy_entry(number, one) for number, one in enumerate(made)]
    identity: dict[str, Any] = {"actor": actor, "policies": [f"p{number}" for number in picked]}
    if members:
        identity["groups"] = [f"g{group}"]
    config: dict[str, Any] = {"name": "security", "kind": "security.config", "strict": strict}
    entries.append(config | ({"application": identity} if has_actor else {}))
    guard = _application_of(entries)
    scope = [*members, *(made[number] for number in picked)]
    asked = policies.request(choices)

    def reference(action: str, resource: str, meta: dict[str, Any]) -> str:
        request = Request(Actor(actor["id"], actor["meta"]), action, resource, meta)
        return policies.together(scope, request) if has_actor else "undefined" if strict else "allow"

    expected = reference(asked.action, asked.resource, dict(asked.meta)) == "allow"
    assert (guard is None or guard.decide(asked.action, asked.resource, asked.meta).allowed) == expected
    queue = asked.resource
    may_publish = reference("queue.publish.queue", queue, {}) == "allow"
    is_denied = has_actor and "deny" in (reference("queue.publish", "", {}), reference("queue.publish", queue, {}))
    answer = guard is None or guard.decide("queue.publish.queue", queue).allowed
    assert answer == (may_publish and not is_denied)


def _policy_entry(number: int, one: dict[str, Any]) -> dict[str, Any]:
    definition = {name: one[name] for name in ("actions", "resources", "effect")}
    if one["tree"] is None:
        definition["conditions"] = [
            {"field": field, "operator": verb, **({"value": value} if source is None else {"value_from": source})}
            for field, verb, value, source in one["conditions"]
        ]
    else:
        definition["expression"] = one["text"].replace("${", "$${")
    kind = "security.policy" if one["tree"] is None else "security.policy.expr"
    groups = [f"g{letter}" for letter in dict.fromkeys(one["groups"])]
    return {"name": f"p{number}", "kind": kind, "policy": definition, "groups": groups}


def _application_of(entries: list[dict[str, Any]]) -> Guard | None:
    with tempfile.TemporaryDirectory() as folder:
        text = stdlib_json.dumps({"version": "1.0", "namespace": "app", "entries": entries})
        (Path(folder) / "p.yaml").write_text(text)
        return Rights(check(load(Path(folder), environ={}))).application


def typed(data: bytes) -> None:
    """A program with types is, without them, the program that it was made from: the same bytecode."""
    source, plain = program(Choices(data))
    stripped = strip(source)
    assert stripped.count("\n") == source.count("\n")
    wanted, found = _compiled()(plain.encode()), _compiled()(stripped.encode())
    assert wanted.startswith(b"\x1bLua"), (wanted, plain)
    assert found == wanted, (found if found[:1] != b"\x1b" else "another program", source, stripped)


@cache
def _compiled() -> Any:
    import lupa.lua54 as lupa

    return lupa.LuaRuntime(encoding=None).eval(
        b"function(text) local f, error = load(text, '=program', 't') return f and string.dump(f, true) or error end"
    )


def lua(data: bytes) -> None:
    """A JSON value comes back from Lua as it went in, or is refused."""
    try:
        value = JsonCodec().decoder()(data)
    except (CodecError, HandlerError):
        return
    _round_trip(value)


def values(data: bytes) -> None:
    """Any value that may be an argument comes back from Lua as it went in; what JSON can say, by json too."""
    _round_trip(value_of(Choices(data)))


def _round_trip(value: Any) -> None:
    try:
        back, again = asyncio.run(_echo().call([value], RecordingContext(Message("1", b"", {}))))
    except HandlerError as error:
        if not any(reason in error.message for reason in ("beyond 64 bits", "deeper", "not valid Unicode")):
            raise
        return
    assert through_lua(back) == through_lua(value)
    if again != "no json":
        assert through_lua(again) == through_lua(back)


@cache
def _echo() -> LuaHandler:
    return LuaHandler(LuaScript("app:echo", LuaSource(_ECHO, "echo.lua"), modules=["json"]))


TARGETS: dict[str, Callable[[bytes], None]] = {
    target.__name__: target
    for target in (
        loader, json, msgpack, pattern, policy, rights, stripper, typed, lua, values,
        protocols.amqp, protocols.properties, protocols.redis, protocols.nats,
    )
}  # fmt: skip
