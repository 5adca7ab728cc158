"""A message as a test and as JSON, without its secrets; and the rights to a dry run."""

from __future__ import annotations

import base64
import json

import pytest

from tasuki import App
from tests.unit.desk.browser import words
from tests.unit.desk.conftest import MakeBrowser
from tests.unit.desk.test_edit_page import bury, text_of

pytestmark = pytest.mark.anyio


async def test_a_test_to_copy(app: App, browse: MakeBrowser) -> None:
    await bury(app, b'{"to": "a", "password": "hunter2"}')
    browser = browse()
    source = text_of((await browser.get("/messages/app:dead/m/test")).text)
    assert "tasuki_app.sync.publish('app:mails', {'to': 'a', 'password': '***'}" in source
    compile(source, "test_it.py", "exec")
    assert "hunter2" not in (await browser.get("/messages/app:dead/m")).text


async def test_json_to_copy(app: App, browse: MakeBrowser) -> None:
    await bury(app, b'{"n": 1.10, "big": 1208925819614629174706176, "api_key": "hunter2"}', token="hunter2")
    text = text_of((await browse().get("/messages/app:dead/m/json")).text)
    assert '"n": 1.10,' in text
    assert "1208925819614629174706176" in text
    assert "hunter2" not in text
    document = json.loads(text)
    assert (document["id"], document["headers"]["tenant"]) == ("m", "acme")
    await app._runtime.queue("dead").purge()
    await bury(app, b"\xff")
    assert json.loads(text_of((await browse().get("/messages/app:dead/m/json")).text))["body_base64"] == "/w=="


async def test_a_dry_run_is_off_until_a_policy_allows_it(app: App, browse: MakeBrowser) -> None:
    await bury(app)
    browser = browse()
    assert "Dry run" not in await browser.text("/messages/app:dead/m")
    answer = await browser.get("/messages/app:dead/m/dry-run")
    assert (answer.status_code, "queue.admin.dry_run" in words(answer.text)) == (403, True)


async def test_a_message_nested_deep_is_a_page_of_its_own_size(app: App, browse: MakeBrowser) -> None:
    await bury(app, b"[" * 900 + b"1," * 100_000 + b"1" + b"]" * 900)
    for page, code in (("", 200), ("/json", 413), ("/edit", 200)):
        answer = await browse().get(f"/messages/app:dead/m{page}")
        assert answer.status_code == code
        assert len(answer.text) < 1_500_000


@pytest.mark.parametrize("page", ["json", "test"])
async def test_a_message_that_its_page_does_not_show_whole_is_not_copied(
    app: App, browse: MakeBrowser, page: str
) -> None:
    await bury(app, b'"' + b"x" * 65_000 + b'"')
    assert (await browse().get(f"/messages/app:dead/m/{page}")).status_code == 200
    await app._runtime.queue("dead").purge()
    await bury(app, b'"' + b"x" * 66_000 + b'"')
    answer = await browse().get(f"/messages/app:dead/m/{page}")
    assert (answer.status_code, "Use tasuki show" in words(answer.text)) == (413, True)
    await app._runtime.queue("dead").purge()
    await bury(app, b"[]", note="x" * 140_000)
    assert (await browse().get(f"/messages/app:dead/m/{page}")).status_code == 413


async def test_a_body_of_more_than_a_mebibyte_is_no_text_to_edit(app: App, browse: MakeBrowser) -> None:
    await bury(app, b"[" + b"{}," * 700_000 + b"0]")
    assert "tasuki edit" in words((await browse().get("/messages/app:dead/m/edit")).text)


async def test_the_first_headers_are_looked_through_and_of_the_others_the_names_are_shown(
    app: App, browse: MakeBrowser
) -> None:
    long = "x" * 300 + "token"
    await bury(app, b"[]", **{f"h{number:02}": "://" * 5_000 for number in range(50)}, z="hidden", **{long: "hunter2"})
    browser = browse()
    shown = (await browser.get("/api/v1/messages/app:dead/m")).json()["headers"]
    assert shown["h00"].startswith("://://")
    assert (shown["h49"], shown["z"]) == ("…", "…")
    assert "hunter2" not in (await browser.get("/messages/app:dead/m")).text
    await app._runtime.queue("dead").purge()
    await bury(app, b"[]", **{long: "hunter2"})
    assert "hunter2" not in (await browser.get("/messages/app:dead/m")).text


async def test_an_export_looks_through_no_more_of_a_letter_than_its_queue_takes(app: App, browse: MakeBrowser) -> None:
    body = b"://" * 500_000
    await bury(app, body, x_last_error="://" * 500_000, note="://" * 50_000)
    letter = json.loads((await browse().get("/dead/app:dead/export")).text)
    assert (letter["body_cut_from"], base64.b64decode(letter["body_base64"])) == (len(body), body[: 2**20])
    assert (len(letter["error"]), letter["headers"]["x_original_queue"]) == (16_000, "app:mails")
    assert len(letter["headers"]["note"]) < 3_000
    await app._runtime.queue("dead").purge()
    await bury(app, b"\xff")
    assert "body_cut_from" not in json.loads((await browse().get("/dead/app:dead/export")).text)
