"""base64, hash and metrics."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasuki.errors import HandlerError, PolicyDeniedError
from tasuki.handlers.lua.modules.data import base64 as module
from tasuki.handlers.lua.modules.telemetry import metrics
from tasuki.observe.custom import CustomMetrics
from tasuki.testing.context import RecordingContext
from tests.unit.handlers.lua.support import complaint, delivery, run

pytestmark = pytest.mark.anyio
FAILED = "local v, e = CALL return {v == nil, e:kind(), e:message(), e:retryable()}"


@pytest.mark.parametrize("data", ["", "a", "ab", "abc", "é<>", b"\xff\x00\xfe", b"\x00" * 50])
async def test_base64_there_and_back(data: str | bytes) -> None:
    expected = base64.b64encode(data if isinstance(data, bytes) else data.encode()).decode()
    assert await run("return base64.encode(body)", data) == expected
    assert await run("return base64.decode(base64.encode(body)) == body", data) is True
    assert await run("return select('#', base64.encode(body)) + select('#', base64.decode(''))", data) == 2


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("YQ", 0), ("YWJjYQ", 4), ("Y", 0), ("Y Q=", 1), ("YQ=", 3), ("YQ=x", 2), ("YQ==x", 4), ("YWI==", 4), ("=", 0),
        ("YWJj=", 4), ("YWJjY===", 5), ("Y\nQ", 1), ("Y\r\nQ*", 4), ("YW-_", 2), ("é", 0), ("YQ\n=", 4),
    ],
)  # fmt: skip
async def test_base64_refuses(text: str, place: int) -> None:
    found = await run(FAILED.replace("CALL", "base64.decode(...)"), text)
    assert found == [True, "Invalid", f"illegal base64 data at input byte {place}", False]


async def test_base64_skips_line_ends() -> None:
    assert await run("return base64.decode('Y\\r\\nQ=\\n=\\n')") == "a"


@given(st.binary(max_size=40), st.binary(max_size=3), st.integers(0, 60))
def test_base64_accepts_whole_quanta_only(data: bytes, noise: bytes, at: int) -> None:
    text = base64.b64encode(data)
    text = text[:at] + noise + text[at:]
    packed = text.replace(b"\r", b"").replace(b"\n", b"")
    is_good = re.fullmatch(rb"([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?", packed)
    try:
        found = module.decode(delivery(), text)
    except HandlerError:
        found = None
    expected = base64.b64decode(packed) if is_good else None
    assert (found.encode() if isinstance(found, str) else found) == expected


@pytest.mark.parametrize("name", ["md5", "sha1", "sha256", "sha512"])
@pytest.mark.parametrize("data", ["", "abc", "é", b"\xff\x00"])
async def test_hash(name: str, data: str | bytes) -> None:
    plain = data if isinstance(data, bytes) else data.encode()
    expected, keyed = hashlib.new(name, plain), hmac.new(b"k\xff", plain, name)
    code = f"local d = hash.{name} local h = hash.hmac_{name} return {{d(body), h(body, 'k\\255'), d(body, false)}}"
    assert await run(code, data) == [expected.hexdigest(), keyed.hexdigest(), expected.hexdigest()]
    code = f"return base64.encode(hash.{name}(body, true)) .. base64.encode(hash.hmac_{name}(body, 'k\\255', 1))"
    assert await run(code, data) == (base64.b64encode(expected.digest()) + base64.b64encode(keyed.digest())).decode()


@pytest.mark.parametrize(
    ("text", "short", "long"),
    [
        ("", 0x811C9DC5, 0xCBF29CE484222325),
        ("a", 0x050C5D7E, 0xAF63BD4C8601B7BE),
        ("foobar", 0x31F0B262, 0x340D8765A4DDA9C2),
    ],
)
async def test_fnv(text: str, short: int, long: int) -> None:
    assert await run("return {hash.fnv32(body), hash.fnv64(body)}", text) == [short, float(long)]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("base64.encode(5)", "string expected"),
        ("base64.decode()", "string expected"),
        ("hash.md5(5)", "data must be a string"),
        ("hash.sha512()", "data must be a string"),
        ("hash.hmac_md5({}, '')", "data must be a string"),
        ("hash.hmac_sha256('x')", "secret must be a string"),
        ("hash.fnv32(1)", "data must be a string"),
        ("hash.fnv64()", "data must be a string"),
    ],
)
async def test_texts_only(call: str, message: str) -> None:
    assert await run(FAILED.replace("CALL", call)) == [True, "Invalid", message, False]


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> CustomMetrics:
    made = CustomMetrics()
    monkeypatch.setattr(metrics, "REGISTRY", made)
    return made


async def test_metrics(registry: CustomMetrics) -> None:
    code = """
    local n = {select('#', metrics.counter_inc('jobs')),
        metrics.counter_add('jobs', 2.5), metrics.counter_add('jobs', '3')}
    metrics.counter_inc('hits', {path = '/a', code = 5, [1] = 'x'}) metrics.counter_inc('hits', {path = '/b'})
    metrics.gauge_set('depth', 7) metrics.gauge_inc('depth') metrics.gauge_dec('depth') metrics.gauge_dec('depth')
    metrics.gauge_dec(5, 'ignored') metrics.histogram('took', 0.3, {}) metrics.histogram('took', '20')
    return n
    """
    assert await run(code) == [2, True, True]
    found: dict[Any, Any] = {(s.name, *s.labels.items()): s.value for s in registry.samples()}
    took = found.pop(("took",))
    assert found == {
        ("jobs",): 6.5,
        ("hits", ("path", "/a")): 1,
        ("hits", ("path", "/b")): 1,
        ("depth",): 6,
        ("5",): -1,
    }
    assert (took.count, took.sum, took.counts[-1]) == (2, 20.3, 1)
    assert registry.dropped == 0


async def test_metrics_that_collide_are_dropped(registry: CustomMetrics) -> None:
    code = """
    metrics.counter_inc('a') metrics.gauge_set('a', 1) metrics.histogram('a', 1) metrics.counter_inc('a', {x = 'y'})
    metrics.counter_add('a', 0 / 0) metrics.counter_add('a', 1 / 0)
    return metrics.counter_add('a', -5)
    """
    assert await run(code) is True
    assert [(s.name, s.type, s.value) for s in registry.samples()] == [("a", "counter", 1)]
    assert registry.dropped == 6


async def test_metrics_of_two_scripts_do_not_collide(registry: CustomMetrics) -> None:
    await run("metrics.gauge_set('a', 1)", context=RecordingContext(function="app:first"))
    await run("metrics.counter_inc('a', {x = 'y'})", context=RecordingContext(function="app:second"))
    assert [(s.function, s.type) for s in registry.samples()] == [("app:first", "gauge"), ("app:second", "counter")]
    assert registry.dropped == 0


async def test_long_metrics_are_dropped_since_they_stay_for_good(registry: CustomMetrics) -> None:
    code = """
    local long = ('x'):rep(1001)
    metrics.counter_inc(long) metrics.counter_inc('a', {[long] = 'y'}) metrics.counter_inc('a', {x = long})
    metrics.counter_add('b', 1 / 0) metrics.gauge_set('b', 5)
    metrics.counter_inc(('x'):rep(1000), {x = ('y'):rep(1000)})
    """
    await run(code)
    assert [(len(s.name), s.type, s.value) for s in registry.samples()] == [(1, "gauge", 5), (1000, "counter", 1)]
    assert registry.dropped == 4


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("metrics.counter_inc()", "bad argument #1 to counter_inc (string expected, got nil)"),
        ("metrics.gauge_set({}, 1)", "bad argument #1 to gauge_set (string expected, got table)"),
        ("metrics.counter_add('a')", "bad argument #2 to counter_add (number expected, got nil)"),
        ("metrics.histogram('a', 'x')", "bad argument #2 to histogram (number expected, got string)"),
        ("metrics.gauge_set('a', true)", "bad argument #2 to gauge_set (number expected, got boolean)"),
    ],
)
async def test_metrics_raise(call: str, message: str) -> None:
    assert await complaint(call) == message


async def test_a_policy_may_keep_a_variable() -> None:
    def env(name: str) -> str | None:
        raise PolicyDeniedError(f"not allowed to access environment variable: {name}")

    context = delivery()
    context._reach.env = env  # type: ignore[method-assign]
    found = await run(FAILED.replace("CALL", "env.get('KEY')"), context=context)
    assert found == [True, "PermissionDenied", "not allowed to access environment variable: KEY", False]
