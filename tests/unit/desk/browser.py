"""A browser without a window: it keeps cookies, and sends the forms that pages show."""

from __future__ import annotations

import html
import re
from typing import Any

import httpx

from tasuki.desk.desk import Desk


class Browser:
    """One client of one desk."""

    def __init__(self, client: httpx.AsyncClient, desk: Desk) -> None:
        self.client = client
        self.desk = desk

    async def get(self, path: str, **options: Any) -> httpx.Response:
        """A page, after redirects that keep it."""
        return await self.client.get(path, follow_redirects=True, **options)

    async def text(self, path: str) -> str:
        """A page that must be there, as people read it: without tags."""
        answer = await self.get(path)
        assert answer.status_code == 200, answer.text
        return words(answer.text)

    async def form(self, path: str) -> tuple[str, dict[str, str]]:
        """The address and the fields of the form that changes something, on a page that asks."""
        answer = await self.get(path)
        assert answer.status_code == 200, answer.text
        return form_of(answer.text)

    async def act(self, path: str, **fields: str) -> httpx.Response:
        """Send the form of a page that asks, with these fields; the page that comes then."""
        action, values = await self.form(path)
        return await self.post(action, values | fields)

    async def post(self, path: str, fields: dict[str, str], **options: Any) -> httpx.Response:
        """Send a form."""
        return await self.client.post(path, data=fields, follow_redirects=True, **options)


def form_of(page: str) -> tuple[str, dict[str, str]]:
    """Action and fields of the first form that is posted."""
    found = re.search(r'<form method="post" action="([^"]*)">(.*?)</form>', page, re.DOTALL)
    assert found, page
    inputs = re.findall(r"<input[^>]*>", found[2])
    pairs = [(re.search(r'name="([^"]*)"', each), re.search(r'value="([^"]*)"', each)) for each in inputs]
    return html.unescape(found[1]), {
        html.unescape(name[1]): html.unescape(value[1]) if value else "" for name, value in pairs if name
    }


def words(page: str) -> str:
    """The text of a page on one line."""
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", page)).split())
