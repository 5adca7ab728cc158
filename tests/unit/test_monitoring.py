"""Every metric and label in docs/monitoring is one that a scrape has, and the other way round."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tasuki import App
from tasuki.observe.exposition.series import SERIES
from tasuki.observe.exposition.text import exposition
from tasuki.observe.metrics import PROCESS
from tasuki.queues.dead_letter import OF_LETTERS
from tasuki.testing.clock import VirtualTimeLoop
from tests.unit.observe.exposition.samples import parsed

FOLDER = Path(__file__).parents[2] / "docs" / "monitoring"

OF_PROMETHEUS = {"instance", "job"}
"""Labels that Prometheus itself adds to a target."""

NAME = re.compile(r"\b(?:tasuki|process)_[a-z_]+\b")
MATCHERS = re.compile(r"\b((?:tasuki|process)_[a-z_]+)\{([^}]*)\}")
GROUPED = re.compile(r"\b(?:by|on|without|ignoring) \(([^)]*)\)")
ALERTS = {
    "TasukiStuck", "TasukiOldMessage", "TasukiBacklogGrows", "TasukiDeadLetters", "TasukiManyDeadLetters",
    "TasukiNoConsumer", "TasukiBrokerDown", "TasukiLoopBlocked", "TasukiLongRun", "TasukiLeasesLost",
    "TasukiScheduleLate", "TasukiPausedLong", "TasukiSeriesDropped", "TasukiAttemptsUnrecorded",
}  # fmt: skip

Labels = dict[str, dict[str, set[str]]]


def dashboard() -> list[str]:
    loaded = json.loads((FOLDER / "tasuki.json").read_text())
    variables = [each["query"]["query"] for each in loaded["templating"]["list"] if each["type"] == "query"]
    return variables + [target["expr"] for panel in loaded["panels"] for target in panel.get("targets", [])]


def rules() -> list[dict[str, Any]]:
    [group] = yaml.safe_load((FOLDER / "tasuki-rules.yml").read_text())["groups"]
    found: list[dict[str, Any]] = group["rules"]
    return found


def scaling() -> list[str]:
    triggers = yaml.safe_load((FOLDER / "keda.yaml").read_text())["spec"]["triggers"]
    return [trigger["metadata"]["query"] for trigger in triggers]


def expressions() -> Iterator[Any]:
    for number, text in enumerate([*dashboard(), *(rule["expr"] for rule in rules()), *scaling()]):
        yield pytest.param(text, id=f"{number}-{next(iter(NAME.findall(text)))}")


@pytest.fixture(scope="module")
def scrape() -> Labels:
    """The labels of each metric, and their values, of an app in which everything has happened."""
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        text = runner.run(_run_app())
    found: Labels = {}
    for name, labels in parsed(text):
        known = found.setdefault(name, {})
        for label, value in labels:
            known.setdefault(label, set()).add(value)
    return found


async def _run_app() -> str:
    app = App("memory://", clock=asyncio.get_running_loop().clock)  # type: ignore[attr-defined]
    queue = app.queue("tasks", dead_letter={"queue": "dead", "max_attempts": 1})

    @queue.consumer()
    async def handle(body: int) -> None:
        raise ValueError(body)

    @app.queue("ticks").every("10s")
    async def tick() -> None:
        """Nothing."""

    PROCESS.act("retry", "ok")
    async with app.worker():
        app.metrics.snapshot()
        await queue.publish(1)
        await asyncio.sleep(60)
        return exposition(app.metrics.snapshot())


@pytest.mark.parametrize("expression", list(expressions()))
def test_each_name_and_label_is_one_of_a_scrape(expression: str, scrape: Labels) -> None:
    names = NAME.findall(expression)
    assert names
    for name in names:
        assert name in scrape, name
    for name, matchers in MATCHERS.findall(expression):
        for label, operator, value in re.findall(r'(\w+)(=~|=|!=)"([^"]*)"', matchers):
            assert label in scrape[name], f"{name} has no label {label}"
            if label in ("result", "state", "outcome", "reason") and operator == "=":
                assert value in scrape[name][label], f"{label} of {name} is never {value}"
    known = OF_PROMETHEUS.union(*(scrape[name] for name in names))
    for group in GROUPED.findall(expression):
        assert {label.strip() for label in group.split(",")} <= known


def test_each_series_is_in_a_scrape_of_a_real_app(scrape: Labels) -> None:
    for series in SERIES:
        assert (f"{series.name}_count" if series.type == "histogram" else series.name) in scrape, series.name


def test_the_alerts_say_what_to_do() -> None:
    assert {rule["alert"] for rule in rules()} == ALERTS
    for rule in rules():
        assert rule["labels"]["severity"] in ("page", "ticket")
        assert rule["annotations"]["summary"]
        assert rule["annotations"]["remedy"]
        used = set(re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"]))
        grouped = {label.strip() for group in GROUPED.findall(rule["expr"]) for label in group.split(",")}
        assert used <= grouped | OF_PROMETHEUS, rule["alert"]


def test_panels_have_their_places() -> None:
    panels = json.loads((FOLDER / "tasuki.json").read_text())["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    cells = [
        (x, y)
        for panel in panels
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(set(cells)) == len(cells), "two panels overlap"
    assert max(x for x, _ in cells) < 24


def test_promtool_takes_the_rules() -> None:
    if (promtool := shutil.which("promtool")) is None:
        pytest.skip("promtool is not installed (apt: promtool): the alerts are not parsed by Prometheus itself")
    done = subprocess.run(
        [promtool, "check", "rules", str(FOLDER / "tasuki-rules.yml")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


LETTERS = """
rule_files: [%s]
evaluation_interval: 1m
tests:
  - interval: 1m
    input_series:
%s    alert_rule_test:
%s"""
_ALERTS = ("TasukiOldMessage", "TasukiBacklogGrows", "TasukiNoConsumer")


def test_letters_that_wait_for_a_person_wake_nobody(tmp_path: Path) -> None:
    """A dead-letter queue has no consumer, and its letters are old: the same numbers of another queue are alerts."""
    if (promtool := shutil.which("promtool")) is None:
        pytest.skip("promtool is not installed (apt: promtool)")
    series = "".join(
        f"      - {{series: '{name}{{queue=\"{queue}\"{more}}}', values: '{values}'}}\n"
        for queue in ("mails", "dead")
        for name, more, values in (
            ("tasuki_queue_messages", ',state="ready"', "1+1x90"),
            ("tasuki_queue_oldest_age_seconds", "", "600+60x90"),
            ("tasuki_queue_consumers", "", "0x90"),
        )
    )
    series += "      - {series: 'tasuki_queue_is_dead_letter{queue=\"dead\"}', values: '1x90'}\n"
    wanted = "".join(
        f"      - {{alertname: {rule['alert']}, eval_time: 80m, exp_alerts: [{{exp_labels: "
        f"{{queue: mails, severity: {rule['labels']['severity']}}}}}]}}\n"
        for rule in rules()
        if rule["alert"] in _ALERTS
    )
    _test_rules(promtool, tmp_path, series, wanted)


def _test_rules(promtool: str, folder: Path, series: str, wanted: str) -> None:
    """Let Prometheus evaluate the alerts over these series, and compare the alerts that fire."""
    file = folder / "test.yml"
    bare = [{name: value for name, value in rule.items() if name != "annotations"} for rule in rules()]
    (folder / "rules.yml").write_text(yaml.safe_dump({"groups": [{"name": "tasuki", "rules": bare}]}))
    file.write_text(LETTERS % (folder / "rules.yml", series, wanted))
    done = subprocess.run([promtool, "test", "rules", str(file)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


_BURSTS = {
    "the first burst of a worker that a scrape has seen": ("0 0 0 5618x30", True),
    "a burst before the first scrape": ("_ _ _ 5618x30", True),
    "a burst before the first scrape after a restart": ("7 7 7 3x30", True),
    "no letter since the worker started": ("0x40", False),
}


@pytest.mark.parametrize("burst", _BURSTS)
def test_the_first_burst_of_dead_letters_is_an_alert(burst: str, tmp_path: Path) -> None:
    if (promtool := shutil.which("promtool")) is None:
        pytest.skip("promtool is not installed (apt: promtool)")
    values, fires = _BURSTS[burst]
    given = {
        'tasuki_messages_dead_lettered_total{queue="mails",reason="max_attempts",instance="new"}': values,
        'tasuki_messages_dead_lettered_total{queue="mails",reason="rejected",instance="old"}': "900x40",
        'process_start_time_seconds{instance="new"}': "100x40",
        'process_start_time_seconds{instance="old"}': "-9000x40",
    }
    series = "".join(f"      - {{series: '{name}', values: '{numbers}'}}\n" for name, numbers in given.items())
    alert = "{exp_labels: {queue: mails, severity: ticket}}" if fires else ""
    wanted = f"      - {{alertname: TasukiDeadLetters, eval_time: 4m, exp_alerts: [{alert}]}}\n"
    calm = "      - {alertname: TasukiDeadLetters, eval_time: 20m, exp_alerts: []}\n"
    _test_rules(promtool, tmp_path, series, wanted + calm)


def test_each_reason_is_there_at_zero_before_the_first_letter() -> None:
    async def scrape() -> str:
        app = App("memory://")
        queue = app.queue("tasks", dead_letter={"queue": "dead"})
        bare = app.queue("bare")

        @queue.consumer()
        async def handle(body: int) -> None: ...

        @bare.consumer()
        async def handle_bare(body: int) -> None: ...

        async with app.worker():
            return exposition(app.metrics.snapshot())

    found = {
        (dict(labels)["queue"], dict(labels)["reason"]): number
        for (name, labels), number in parsed(asyncio.run(scrape())).items()
        if name == "tasuki_messages_dead_lettered_total"
    }
    assert found == {("app:tasks", reason): 0 for reason in OF_LETTERS}
