"""The example in FastAPI: with its TestClient, and under uvicorn with workers in their own processes."""

from __future__ import annotations

import importlib
import shutil
import sys
from pathlib import Path
from types import ModuleType

import httpx
import pytest
from fastapi.testclient import TestClient

from tasuki.testing import TestApp
from tests.support.ports import free_port
from tests.support.process import run
from tests.support.serving import serving

pytestmark = pytest.mark.e2e
EXAMPLE = Path(__file__).parents[2] / "examples" / "fastapi"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(EXAMPLE, tmp_path / "fastapi"))


@pytest.fixture
def web(folder: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.delitem(sys.modules, "web", raising=False)
    module = importlib.import_module("web")
    monkeypatch.delitem(sys.modules, "web")
    return module


def test_an_order_is_accepted_and_its_status_follows_the_worker(web: ModuleType) -> None:
    with TestApp(web.app) as twin, TestClient(web.web) as client:
        answer = client.post("/invoices", json={"address": "ada@example.com"})
        assert (answer.status_code, answer.json()["is_done"]) == (202, False)
        status = answer.headers["location"]
        assert client.get(status).json()["is_done"] is False
        assert twin.published(web.invoices) == [web.Invoice(address="ada@example.com")]
        twin.sync.drain()
        assert client.get(status).json() == {"id": answer.json()["id"], "is_done": True}


def test_plain_endpoints_publish_too_and_a_bad_body_reaches_no_queue(web: ModuleType) -> None:
    with TestApp(web.app) as twin, TestClient(web.web) as client:
        assert client.post("/invoices/bob@example.com/again").status_code == 202
        assert client.post("/invoices/bob/again").status_code == 422
        assert client.post("/invoices", json={"to": "ada"}).status_code == 422
        assert twin.published(web.invoices) == [web.Invoice(address="bob@example.com")]


def test_without_a_twin_the_lifespan_opens_the_app_and_closes_it(web: ModuleType, folder: Path) -> None:
    for _ in range(2):
        with TestClient(web.web) as client:
            assert client.post("/invoices", json={"address": "ada@example.com"}).status_code == 202
            assert web.app.is_open
        assert not web.app.is_open
    assert (folder / ".tasuki" / "queue.db").exists()


def test_under_uvicorn_with_a_worker_of_its_own(folder: Path) -> None:
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", "web:web", "--port", str(port), "--log-level", "warning"]
    with serving(command, folder, port), httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
        answers = [client.post("/invoices", json={"address": f"{number}@example.com"}) for number in range(5)]
        assert [answer.status_code for answer in answers] == [202] * 5
        worked = run("run", "web.py", "--until-empty", folder=folder)
        assert worked.returncode == 0, worked.stderr
        for answer in answers:
            assert client.get(answer.headers["location"]).json()["is_done"]
