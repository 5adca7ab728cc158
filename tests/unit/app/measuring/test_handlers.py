"""What handlers count: in Python, in their own process, and in Lua; by one function, under one name."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasuki import App
from tasuki.observe import custom
from tasuki.observe.custom import CustomMetrics
from tasuki.observe.exposition.text import exposition
from tasuki.testing.context import RecordingContext
from tests.unit.observe.exposition.samples import parsed, value

pytestmark = pytest.mark.anyio

PROJECT = """\
version: "1.0"
namespace: app
entries:
  - {name: driver, kind: queue.driver.memory}
  - {name: work, kind: function.FLAVOUR, source: "file://work.EXTENSION", modules: [metrics]}
"""

PYTHON = """
from tasuki import Context

def work(body, context: Context):
    context.metrics.count("orders", labels={"country": body})
    context.metrics.count("orders", 2, {"country": body})
    context.metrics.set("depth", 7)
    context.metrics.add("depth", -2)
    context.metrics.observe("size", 0.3)
    context.metrics.count("orders", "many")
"""

LUA = """
local metrics = require("metrics")
return function(body)
  metrics.counter_inc("orders", { country = body })
  metrics.counter_add("orders", 2, { country = body })
  metrics.gauge_set("depth", 7)
  metrics.gauge_inc("depth")
  metrics.gauge_set("depth", 5)
  metrics.histogram("size", 0.3)
  metrics.counter_inc("depth")
end
"""


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> CustomMetrics:
    """A new one, in place of the registry of this process."""
    found = CustomMetrics()
    for module in ("tasuki.observe.custom.OF_HANDLERS", "tasuki.app.measuring.meter.OF_HANDLERS",
                   "tasuki.handlers.lua.modules.telemetry.metrics.REGISTRY"):  # fmt: skip
        monkeypatch.setattr(module, found)
    assert custom.OF_HANDLERS is found
    return found


@pytest.mark.parametrize("flavour", ["python", "python, isolation: process", "lua", "lua, isolation: process"])
async def test_a_handler_counts(flavour: str, registry: CustomMetrics, tmp_path: Path) -> None:
    is_python = flavour.startswith("python")
    (tmp_path / ("work.py" if is_python else "work.lua")).write_text(PYTHON if is_python else LUA)
    text = PROJECT.replace("EXTENSION", "py" if is_python else "lua").replace("FLAVOUR", flavour)
    text = text.replace(", modules: [metrics]", ", method: work" if is_python else ", modules: [metrics]")
    (tmp_path / "_index.yaml").write_text(text)
    async with App.load(tmp_path) as app:
        await app.call("app:work", "jp")
        found = parsed(exposition(app.metrics.snapshot()))
    assert value(found, "orders_total", country="jp") == 3
    assert found["depth", ()] == 5
    assert value(found, "size_bucket", le="0.5") == 1
    assert value(found, "tasuki_series_dropped_total") == registry.dropped == 1


def test_a_test_of_a_handler_sees_what_it_counted() -> None:
    context = RecordingContext()
    context.metrics.count("orders", labels={"country": "jp"})
    assert context.measured == [("count", "orders", 1, {"country": "jp"})]
