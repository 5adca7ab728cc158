"""Secrets of bodies that cannot be decoded, or cannot be written as JSON, are masked too."""

from __future__ import annotations

import base64
import datetime
import html
import json
import re
from typing import Any

import msgspec
import pytest

from tasuki import App
from tests.unit.desk.browser import words
from tests.unit.desk.conftest import MakeBrowser
from tests.unit.desk.letters import bury

pytestmark = pytest.mark.anyio

AT = datetime.datetime(2026, 11, 29, tzinfo=datetime.UTC)
BODIES: dict[str, tuple[str, bytes]] = {
    "json that is cut off": ("json/plain", b'{"password": "hunter2", "n": '),
    "text": ("text/plain", b"password=hunter2"),
    "text in bytes": ("application/octet-stream", b"\x00\xffpassword=hunter2\x01"),
    "messagepack with bytes": (
        "application/msgpack",
        msgspec.msgpack.encode({"password": "hunter2", "data": b"\x00\xff"}),
    ),
    "all kinds of names": (
        "json/plain",
        json.dumps(
            {
                "password": {"old": ["hunter2"]},
                "passwords": ["hunter2", {"n": "hunter2"}],
                "user_password_hash": "hunter2",
                "auth": "Basic hunter2",
                "api_keys": ["hunter2"],
                "secret_value": "hunter2",
                "sessionid": "hunter2",
                "jwt": "hunter2",
                "request": "GET /\nCookie: a=b; c=hunter2\nHost: x",
                "note": json.dumps({"token_value": {"x": "hunter2"}}),
            }
        ).encode(),
    ),
    "an escape in a name": ("json/plain", rb'{"pass\u0077ord": "hunter2", "n": 5}'),
    "messagepack with lists": ("application/msgpack", msgspec.msgpack.encode({"api_keys": ["hunter2"], "n": 5})),
    "messagepack with a time": ("application/msgpack", msgspec.msgpack.encode({"password": "hunter2", "at": AT})),
}
HEX = b"hunter2".hex(" ")


def told(text: str) -> str:
    """A text with all that base64 hides in it."""
    found = re.findall(r'"body_base64": ?"([^"]*)"', text)
    return text + "".join(base64.b64decode(each).decode("latin-1") for each in found)


@pytest.mark.parametrize("name", BODIES)
async def test_no_page_and_no_download_tells_them(app: App, browse: MakeBrowser, name: str) -> None:
    kind, body = BODIES[name]
    letter: dict[str, Any] = {"content_type": kind, "Cookie": "a=b; c=hunter2", "x-auth": "Basic hunter2"}
    await bury(app, "1", body=body, **letter)
    browser = browse()
    pages = ("/messages/app:dead/1", "/messages/app:dead/1/json", "/messages/app:dead/1/test", "/queues/app:dead")
    paths = ("/dead/app:dead", "/dead/app:dead/export", "/api/v1/messages/app:dead/1", "/api/v1/dead/app:dead")
    for path in (*pages, *paths):
        answer = await browser.get(path)
        assert answer.status_code == 200, path
        shown = told(html.unescape(answer.text))
        assert "hunter2" not in shown, path
        assert HEX not in shown.replace("\n", " "), path


async def test_text_is_shown_as_text_and_a_time_as_a_time(app: App, browse: MakeBrowser) -> None:
    browser = browse()
    for id, name in (("1", "json that is cut off"), ("2", "messagepack with a time")):
        kind, body = BODIES[name]
        await bury(app, id, body=body, content_type=kind)

    assert '{"password": "***", "n":' in words((await browser.get("/messages/app:dead/1")).text)
    lines = [json.loads(line) for line in (await browser.get("/dead/app:dead/export")).text.splitlines()]
    assert lines[1]["body"] == {"password": "***", "at": "2026-11-29T00:00:00+00:00"}
