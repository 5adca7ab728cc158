"""logger, env, funcs, uuid: the small modules."""

# ruff: noqa: E501 - a case is a line, and reads best as one

from __future__ import annotations

import uuid
from typing import Any

import pytest

from tasuki.errors import HandlerError, LuaError, PolicyDeniedError
from tasuki.kinds.stores import memory_store
from tests.unit.handlers.lua.support import complaint, delivery, run

pytestmark = pytest.mark.anyio

FAILED = "local ok, err = CALL return {ok == nil, err:kind(), err:message(), err:retryable(), err:details()}"


async def logged(code: str) -> list[tuple[str, str, dict[str, Any]]]:
    context = delivery()
    await run(code, context=context)
    return [(r.level, r.message, {k: v for k, v in r.fields.items() if k != "pid"}) for r in context.logged]


AT = {"location": "script.lua:1"}


@pytest.mark.parametrize(
    ("code", "records"),
    [
        ("logger.info('x')", [("info", "x", AT)]),
        ("logger:info('x')", [("info", "x", AT)]),
        ("logger:debug('x') logger.warn('y') logger:error('z')", [("debug", "x", AT), ("warning", "y", AT), ("error", "z", AT)]),
        ("logger.info(5)", [("info", "5", AT)]),
        ("logger.info(errors.new('e'))", [("info", "e", AT)]),
        ("logger.info('\\255')", [("info", "\ufffd", AT)]),
        ("logger.info('x', {a = 1, b = 'c', d = true, [1] = 2})", [("info", "x", {**AT, "a": 1, "b": "c", "d": True})]),
        ("logger:info('x', {e = errors.new('e'), l = {1, 2}, m = {a = {[2.5] = 1}}})", [("info", "x", {**AT, "e": "e", "l": [1, 2], "m": {"a": {"2.5": 1}}})]),
        ("local t = {} t.t = t logger.info('x', t)", [("info", "x (without its fields: value refers to itself)", AT)]),
        ("logger.info('x', {queue = 'q', message_id = 'i', consumer = 'c', pid = 1})", [("info", "x", {**AT, "queue_": "q", "message_id_": "i", "consumer_": "c", "pid_": 1})]),
        ("logger.info('x', {name = 'n', message = 'm'})", [("info", "x", {**AT, "name_": "n", "message_": "m"})]),
        ("local l = logger:with({a = 1}) l:info('x') l.info('y') l:info('z', {b = 2})", [("info", "x", {**AT, "a": 1}), ("info", "y", AT), ("info", "z", {**AT, "a": 1, "b": 2})]),
        ("logger.with({a = 1}):with({b = 2}):info('x')", [("info", "x", {**AT, "a": 1, "b": 2})]),
        ("logger:named('a'):named('b'):info('x') logger.named('c'):info('y')", [("info", "x", {**AT, "logger_name": "a.b"}), ("info", "y", {**AT, "logger_name": "c"})]),
        ("logger.info('x', table.freeze({a = 1}))", [("info", "x", {**AT, "a": 1})]),
        ("local f = {error = 'e'} logger:error('x', f) assert(f.error == 'e')", [("error", "x", {**AT, "error": "e"})]),
    ],
)  # fmt: skip
async def test_logger(code: str, records: list[Any]) -> None:
    assert await logged(code) == records


async def test_records_below_the_level_are_not_made() -> None:
    context = delivery()
    context.logger.setLevel("ERROR")
    await run("logger.info('x') logger.error('y')", context=context)
    assert [record.message for record in context.logged] == ["y"]


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("logger.info()", "bad argument #1 to info (string expected, got nil)"),
        ("logger:info({})", "bad argument #1 to info (string expected, got table)"),
        ("logger.info('x', 5)", "bad argument #2 to info (table expected, got number)"),
        ("logger:info('x', nil)", "bad argument #2 to info (table expected, got nil)"),
        ("logger:with()", "bad argument #1 to with (table expected, got nil)"),
        ("logger:named('')", "name cannot be empty"),
        ("logger:named({})", "bad argument #1 to named (string expected)"),
    ],
)
async def test_logger_complains(code: str, message: str) -> None:
    assert await complaint(code) == message


async def test_env() -> None:
    context = delivery()
    context.variables.update(A="1", EMPTY="")
    assert await run("return env.get('A')", context=context) == "1"
    for name in ("EMPTY", "NONE"):
        found = await run(FAILED.replace("CALL", f"env.get('{name}')"), context=context)
        assert found == [True, "NotFound", "environment variable not found", False]
    assert (await run(FAILED.replace("CALL", "env.get('')")))[1:3] == ["Invalid", "empty key"]
    with pytest.raises(LuaError, match=r"script\.lua:1: bad argument #1 to get \(string expected, got table\)"):
        await run("env.get({})")


async def test_funcs_call() -> None:
    context = delivery()

    async def waiting(*args: Any) -> Any:
        return {"args": list(args)}

    context.functions.update({"app:add": lambda a, b: a + b, "app:wait": waiting, "app:nothing": lambda: None})
    assert await run("return funcs.call('app:add', 2, 3)", context=context) == 5
    assert await run("return funcs.call('app:wait', {a = {}}, 'x')", context=context) == {"args": [{"a": []}, "x"]}
    assert await run("local v, e = funcs.call('app:nothing') return v == nil and e == nil", context=context) is True


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        ("funcs.call()", [True, "Invalid", "function ID required", False]),
        ("funcs.call('')", [True, "Invalid", "function ID required", False]),
        ("funcs.call('x')", [True, "Invalid", "namespace required in function ID", False]),
        ("funcs.call(':x')", [True, "Invalid", "namespace required in function ID", False]),
        ("funcs.call('x:')", [True, "Invalid", "name required in function ID", False]),
        ("funcs.call('a:b')", [True, "NotFound", "no handler registered for target", False, {"target": "a:b"}]),
        ("funcs.call('a:denied')", [True, "PermissionDenied", "not allowed: a:denied", False, {"reason": "permission_denied"}]),
        ("funcs.call('a:busy')", [True, "RateLimited", "busy", True, {"after": 1}]),
        ("funcs.call('a:plain')", [True, "Internal", "plain"]),
        ("funcs.call('a:odd')", [True, "Internal", "KeyError: 'x'", False]),
        ("funcs.call('a:object')", [True, "Invalid", "a value of type object cannot be passed to Lua", False]),
        ("funcs.call('a:big')", [True, "Invalid", "a number is beyond 64 bits", False]),
    ],
)  # fmt: skip
async def test_funcs_call_tells_why_it_failed(call: str, expected: list[Any]) -> None:
    def failing(error: Exception) -> Any:
        def function() -> None:
            raise error

        return function

    context = delivery()
    context.functions.update(
        {
            "a:denied": failing(PolicyDeniedError("no", action="funcs.call")),
            "a:busy": failing(HandlerError("busy", kind="RateLimited", retryable=True, details={"after": 1})),
            "a:plain": failing(HandlerError("plain")),
            "a:odd": failing(KeyError("x")),
            "a:object": object,
            "a:big": lambda: 2**70,
        }
    )
    assert await run(FAILED.replace("CALL", call), context=context) == expected


async def test_funcs_call_raises_for_a_wrong_type() -> None:
    with pytest.raises(LuaError, match=r"script\.lua:1: bad argument #1 to call \(string expected, got table\)"):
        await run("funcs.call({})")


V1 = "c232ab00-9414-11ec-b3c8-9f6bdeced846"


V4 = "919108f7-52d1-4320-9bac-f847db4148a8"


V7 = "01890a5d-ac96-774b-bcce-b302099a8057"


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("return #uuid.v1() + #uuid.v4() + #uuid.v7()", 108),
        ("return {uuid.version(uuid.v1()), uuid.version(uuid.v4()), uuid.version(uuid.v7())}", [1, 4, 7]),
        ("return uuid.v5('6ba7b810-9dad-11d1-80b4-00c04fd430c8', 'a')", str(uuid.uuid5(uuid.NAMESPACE_DNS, "a"))),
        ("return uuid.v3('6ba7b810-9dad-11d1-80b4-00c04fd430c8', 'a')", str(uuid.uuid3(uuid.NAMESPACE_DNS, "a"))),
        ("return {#uuid.v3('6ba7b810-9dad-11d1-80b4-00c04fd430c8', '\\255'), uuid.version(uuid.v5('6ba7b810-9dad-11d1-80b4-00c04fd430c8', '\\255'))}", [36, 5]),
        (f"return {{uuid.validate('{V4}'), uuid.validate('urn:uuid:{V4}'), uuid.validate('{{{V4}}}'), uuid.validate('{V4.replace('-', '')}'), uuid.validate('{V4.upper()}')}}", [True] * 5),
        ("return {uuid.validate('x'), uuid.validate(5), uuid.validate('\\255')}", [False] * 3),
        (f"return uuid.variant('{V4}')", "RFC4122"),
        ("return {uuid.variant('00000000-0000-0000-0000-000000000000'), uuid.variant('00000000-0000-0000-c000-000000000000'), uuid.variant('00000000-0000-0000-f000-000000000000')}", ["NCS", "Microsoft", "Future"]),
        (f"return uuid.parse('{V4}')", {"version": 4, "variant": "RFC4122"}),
        (f"return uuid.parse('{V7}')", {"version": 7, "variant": "RFC4122", "timestamp": 0x01890A5DAC96 // 1000}),
        (f"local p = uuid.parse('{V1}') return {{p.version, #p.node, p.timestamp > 1e9}}", [1, 6, True]),
        (f"return {{uuid.format('{V4}', 'simple'), uuid.format('{V4}'), uuid.format('{V4}', 'urn'), uuid.format('{V4}', 5)}}", [V4.replace("-", ""), V4, f"urn:uuid:{V4}", V4]),
    ],
)  # fmt: skip
async def test_uuid(code: str, expected: Any) -> None:
    assert await run(code) == expected


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("uuid.v5('x', 'a')", "invalid namespace UUID"),
        ("uuid.v3('\\255', 'a')", "invalid namespace UUID"),
        ("uuid.v3(1, 'a')", "namespace and name must be strings"),
        ("uuid.version(5)", "input must be a string"),
        ("uuid.version('x')", "invalid UUID format"),
        ("uuid.parse('x')", "invalid UUID format"),
        ("uuid.format(5)", "input must be a string"),
        (f"uuid.format('{V4}', 'odd')", "unsupported format"),
    ],
)
async def test_uuid_refuses(call: str, message: str) -> None:
    assert await run(FAILED.replace("CALL", call)) == [True, "Invalid", message, False]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("store.get({})", "bad argument #1 to get (string expected, got table)"),
        ("store.get('app:store'):get({})", "bad argument #1 to get (string expected, got table)"),
        ("store.get('app:store'):put({}, 1)", "bad argument #1 to put (string expected, got table)"),
        ("store.get('app:store').info(5)", "store.Store expected"),
        ("metrics.counter_add({}, 1)", "bad argument #1 to counter_add (string expected, got table)"),
        ("time.fixed_zone({}, 1)", "bad argument #1 to fixed_zone (string expected, got table)"),
        ("time.now():format({})", "bad argument #1 to format (string expected, got table)"),
        ("security.new_scope():evaluate()", "bad argument #1 to evaluate (security.Actor expected, got nil)"),
        ("queue.message().id(5)", "queue.Message expected"),
        ("funcs.call({})", "bad argument #1 to call (string expected, got table)"),
        ("env.set('A', {})", "bad argument #2 to set (string expected, got table)"),
        ("channel.select(5)", "bad argument #1 to select (table expected, got number)"),
        ("next(5)", "bad argument #1 to 'next' (table expected, got number)"),
    ],
)
async def test_a_wrong_argument_names_the_line_of_its_call(call: str, message: str) -> None:
    context = delivery()
    context.resources["app:store"] = memory_store("app:store")
    code = f"local function one()\n local made = {call}\n return made end\n return {{pcall(function() local made = one() end)}}"
    assert await run(code, context=context) == [False, f"script.lua:2: {message}"]


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (
            "local e = errors.new('x') return {e:kind(), e:message(), e:retryable() == nil, e:details() == nil}",
            ["", "x", True, True],
        ),
        (
            "local e = errors.new({message = 'x', kind = 'K', retryable = false}) return {e:kind(), e:retryable()}",
            ["K", False],
        ),
        ("return errors.new('TIMEOUT', 'text'):message()", "TIMEOUT"),
        (
            "local e = errors.new({message = 'x', kind = 1, retryable = 'y', details = 5}) return {e:kind(), e:retryable() == nil}",
            ["", True],
        ),
        (
            "return errors.new({message = 'x', details = {a = 1, b = {c = true, 7}, [1] = 2, d = print}}):details().b",
            {"c": True},
        ),
        ("return errors.new({message = 'x', details = {1, 2}}):details() == nil", True),
        ("return errors.new({message = 'x', details = {l = {1}}}):details().l", []),
        ("return errors.new({message = 'x', details = {e = errors.new('in')}}):details().e", "in"),
        ("local e = errors.new({message = 'x', details = {a = 1}}) e:details().a = 2 return e:details().a", 1),
        (
            "local e = errors.new('x') return {type(e), tostring(e), e .. '!', '!' .. e, e .. e, 1 .. e}",
            ["userdata", "x", "x!", "!x", "xx", "1x"],
        ),
        ("return errors.new('x') == errors.new('x')", False),
        ("return errors.is(errors.new({message = 'x', kind = 'A'}), 'A')", True),
        (
            "return {errors.is(nil, 'A'), errors.is('A', 'A'), errors.is({}, 'A'), errors.is(errors.new('x'), '')}",
            [False, False, False, True],
        ),
        ("local ok, e = pcall(error, errors.new('x')) return {type(e), e:message()}", ["userdata", "x"]),
        ("return {errors.NOT_FOUND, errors.RATE_LIMITED, errors.UNKNOWN}", ["NotFound", "RateLimited", ""]),
        ("local m = errors.new('x').kind return {m('no'), errors.new('x').message({})}", ["", ""]),
        ("local e = errors.new('x') return {e.retryable(1) == nil, e.details(1) == nil, e.stack(1)}", [True, True, ""]),
        ("return errors.call_stack('x') == nil", True),
        (
            "local s = errors.call_stack(errors.new('x')) return {s.thread, s.frames[1].source, s.frames[1].line, s.frames[1].level}",
            ["main", "script.lua", 1, 0],
        ),
        ("return errors.new('x'):stack():find('script.lua:1', 1, true) ~= nil", True),
    ],
)
async def test_what_they_do(code: str, expected: Any) -> None:
    assert await run(code) == expected


async def test_wrap_moves_the_context_into_the_message_when_wrapped_again() -> None:
    code = """
    local inner = errors.new({message = 'disk', kind = 'Unavailable', retryable = true, details = {a = 1}})
    local once = errors.wrap(inner, 'save')
    local twice = errors.wrap(once, errors.new('order'))
    return {tostring(once), once:stack():match('^(.-)\\n'), tostring(twice), twice:kind(), twice:retryable(),
            twice:details(), errors.wrap('text', 'c'):kind(), json.encode(once), tostring(errors.wrap(errors.wrap('t', ''), 'c'))}
    """
    assert await run(code) == [
        "disk", "save", "save: disk", "Unavailable", True, {"a": 1}, "", '"save: disk"', "t",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("errors.new(5)", "expected string or table"),
        ("errors.new(errors.new('x'))", "expected string or table"),
        ("errors.new({})", "message field is required"),
        ("errors.new({message = 5})", "message must be a string"),
        ("errors.wrap(5, 'x')", "expected string or error object"),
        ("errors.wrap('x', 5)", "bad argument #2 to wrap (expected string or error object)"),
        ("errors.wrap('x')", "value expected"),
        ("errors.is()", "bad argument #2 to is"),
        ("errors.is(1, 2)", "string expected"),
        ("return #errors.new('x')", "attempt to get length of a userdata value"),
        ("return errors.new('x') .. {}", "attempt to concatenate a table value"),
        ("return errors.new('x') < errors.new('y')", "attempt to compare two"),
        ("return errors.new('x'):nothing()", "attempt to call a nil value"),
    ],
)
async def test_what_they_refuse(code: str, message: str) -> None:
    assert message in await complaint(code)


async def test_deep_details_are_cut() -> None:
    code = "local d = {} local t = d for i = 1, 60 do t.a = {} t = t.a end return errors.new({message = 'x', details = d}):details()"
    assert "..." in str(await run(code))
