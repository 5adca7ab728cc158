"""Who may look at letters cannot guess their secrets by asking: not by rows, not by counts, not by a batch."""

from __future__ import annotations

import pytest

from tasuki import App
from tests.unit.desk.browser import Browser, form_of, words
from tests.unit.desk.conftest import MakeBrowser
from tests.unit.desk.letters import bury, ids_in

pytestmark = pytest.mark.anyio

DEAD = "/dead/app:dead"
RIGHT = (
    'body.password startsWith "hun"',
    'body.password == "hunter2"',
    'body.password contains "unter"',
    'body["password"] matches "^h"',
    'body.card.pin_token in ["4711"]',
    'body.note contains "hunter2"',
    'headers.api_key == "k-123"',
    'headers["x_last_error"] contains "hunter2"',
    'error contains "hunter2"',
)
"""Questions that the real values would answer with yes."""
BODY = '{"password": "hunter2", "note": "password: hunter2", "n": 1, "card": {"pin_token": "4711"}}'
ERROR = "LoginError: password=hunter2 was refused"


@pytest.fixture
async def browser(app: App, browse: MakeBrowser) -> Browser:
    await bury(app, "1", body=BODY, error=ERROR, api_key="k-123")
    return browse(actor="kana")


@pytest.mark.parametrize("question", RIGHT)
async def test_no_page_answers_a_question_about_a_secret(app: App, browser: Browser, question: str) -> None:
    asked = {"where": question}
    assert len((await app.dead.letters("dead", where=question)).letters) == 1, "code sees the values"
    assert "No dead letter matches" in words((await browser.get(DEAD, params=asked)).text)
    assert "in groups: 0" in words((await browser.get("/dead", params=asked)).text)
    assert (await browser.get(f"{DEAD}/export", params=asked)).text == ""
    for path in ("dead/groups", "dead/app:dead"):
        assert (await browser.get(f"/api/v1/{path}", params=asked)).json()["count"] == 0
    page = await browser.get(f"{DEAD}/confirm", params={"act": "redrive", **asked})
    assert "Send 0 dead letters" in words(page.text)


@pytest.mark.parametrize("question", RIGHT)
async def test_a_batch_is_no_answer_either(app: App, browser: Browser, question: str) -> None:
    body = {"act": "delete", "queue": "app:dead", "where": question, "rate": 0}
    answer = await browser.client.post("/api/v1/batches", json=body)
    begun = answer.json()
    assert (answer.status_code, begun["count"]) == (200, 0), begun
    batch = await app.dead.batches.wait(begun["batch"])
    assert (batch.state, batch.total, batch.done, batch.unclear) == ("done", 0, 0, 0)
    assert await ids_in(app, "dead") == ["1"]


async def test_a_batch_of_the_page_compares_masks_and_one_of_code_does_not(app: App, browser: Browser) -> None:
    action, fields = form_of((await browser.get(f"{DEAD}/confirm", params={"act": "remove", "where": RIGHT[0]})).text)
    page = await browser.client.post(action, data=fields | {"name": "app:dead", "fast": "1"}, follow_redirects=True)
    batch = await app.dead.batches.wait(page.url.path.rpartition("/")[2])
    assert (batch.masks, batch.done) == (True, 0)

    own = await app.dead.batches.wait((await app.dead.batches.begin("delete", "dead", where=RIGHT[0], rate=0)).id)
    assert (own.masks, own.done) == (False, 1)


async def test_other_values_can_be_asked_about(app: App, browser: Browser) -> None:
    for question in (
        "body.n == 1",
        'error startsWith "LoginError"',
        'body.password == "***"',
        "body.card.pin_token != ''",
    ):
        found = await browser.get("/api/v1/dead/app:dead", params={"where": question})
        assert found.json()["count"] == 1, question


async def test_an_error_about_a_value_does_not_tell_it(browser: Browser) -> None:
    text = words((await browser.get(DEAD, params={"where": "body.password > 1 || body.password.x == 1"})).text)
    assert "could not be judged" in text
    assert "hunter2" not in text
