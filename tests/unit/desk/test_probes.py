"""What machines ask a desk."""

from __future__ import annotations

import json

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tasuki import App
from tasuki.app.health.report import Check, Report
from tasuki.desk.desk import beside
from tasuki.desk.probes import probes_of
from tasuki.desk.security.access import Access
from tasuki.desk.viewer import WatchedApp
from tests.unit.desk.conftest import MakeBrowser

pytestmark = pytest.mark.anyio

TOKEN = "a token of the desk that is long enough"


class Watched:
    def __init__(self, *checks: Check) -> None:
        self.checks = checks

    def report(self) -> Report:
        return Report(1.0, self.checks)


@pytest.mark.parametrize(
    ("status", "livez", "readyz"),
    [("ok", 200, 200), ("warning", 200, 200), ("not_ready", 200, 503), ("not_live", 503, 503)],
)
def test_a_probe_says_its_status_and_no_name(status: str, livez: int, readyz: int) -> None:
    watched = Watched(Check("app:secret", status, 0.0, "redis://inner:6379 is unavailable"))  # type: ignore[arg-type]
    probes = probes_of(watched)  # type: ignore[arg-type]
    answers = {name: probe(None) for name, probe in probes.items()}  # type: ignore[arg-type]
    assert {name: answer.status_code for name, answer in answers.items()} == {"livez": livez, "readyz": readyz}
    for answer in answers.values():
        assert json.loads(bytes(answer.body))["status"] == status
        assert b"secret" not in bytes(answer.body)
        assert b"inner" not in bytes(answer.body)


async def test_probes_need_neither_token_nor_host(browse: MakeBrowser) -> None:
    browser = browse(base="http://10.0.0.7:9321", token=TOKEN, hosts=["desk.example"])
    assert (await browser.client.get("/livez")).json()["live"] is True
    assert (await browser.client.get("/readyz")).json().keys() == {"status", "live", "ready"}
    for path in ("/metrics", "/api/v1/health"):
        assert (await browser.client.get(path)).status_code == 421


@pytest.mark.parametrize("path", ["/metrics", "/api/v1/health"])
async def test_what_names_queues_needs_the_token(browse: MakeBrowser, path: str) -> None:
    client = browse(token=TOKEN).client
    wrong = await client.get(path, headers={"authorization": "Bearer wrong"})
    right = await client.get(path, headers={"authorization": f"Bearer {TOKEN}"})
    assert (wrong.status_code, right.status_code) == (401, 200)
    missing = await client.get(path)  # and not the page that asks a person for it
    assert (missing.status_code, missing.json()["code"]) == (401, "unauthorized")
    assert "the token is missing" in missing.json()["detail"]


async def test_metrics_are_those_of_the_app(app: App, browse: MakeBrowser) -> None:
    client = browse().client
    await app.publish("app:mails", {"to": "a"})
    answer = await client.get("/metrics")
    families = {family.name: family for family in text_string_to_metric_families(answer.text)}
    counts = families["tasuki_messages_published"].samples
    samples = {sample.labels["queue"]: sample.value for sample in counts if sample.labels["outcome"] == "confirmed"}
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert samples["app:mails"] == 1
    only = await client.get("/metrics?queues=app:images&histograms=0")
    assert 'queue="app:mails"' not in only.text
    opened = await client.get("/metrics", headers={"accept": "application/openmetrics-text"})
    assert opened.text.endswith("# EOF\n")


async def test_health_has_all_checks(browse: MakeBrowser) -> None:
    answer = await browse().client.get("/api/v1/health")
    assert answer.status_code == 200, "an app that is only open has no consumers to start"
    assert {"status", "live", "ready", "time", "checks"} == answer.json().keys()
    assert "driver app:driver" in {check["name"] for check in answer.json()["checks"]}


async def test_the_probes_of_a_worker_are_about_it_and_not_about_the_desks_own_connections(app: App) -> None:
    desk = beside(app, Access(is_open=True))
    assert isinstance(desk.tools.watched, WatchedApp)
    assert desk.tools.watched.report().of("ok") == app.health.report().of("ok")


@pytest.mark.parametrize(
    ("accepted", "is_packed"),
    [
        ("gzip", True),
        ("br;q=1.0, gzip;q=0.8", True),
        ("*", True),
        ("gzip;q=0", False),
        ("identity", False),
        ("", False),
    ],
)
async def test_metrics_are_compressed_for_who_asks(browse: MakeBrowser, accepted: str, is_packed: bool) -> None:
    client = browse().client
    answer = await client.get("/metrics", headers={"accept-encoding": accepted})
    assert ("content-encoding" in answer.headers) is is_packed
    assert answer.text.startswith("# HELP")
    assert "accept-encoding" in answer.headers["vary"]
