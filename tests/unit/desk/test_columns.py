"""One table of columns: every face shows the same fact of a queue under the same name."""

from __future__ import annotations

import msgspec
import pytest

from tasuki import App
from tasuki.desk.api.answers import QueueItem
from tasuki.desk.presentation.words import LANGUAGES
from tasuki.desk.reading.snapshot import COLUMNS, QueueRow
from tasuki.top.views.queues import QueuesView
from tests.unit.desk.conftest import MakeBrowser

pytestmark = pytest.mark.anyio


def test_every_column_is_a_field_of_the_api_and_has_a_title_in_each_language() -> None:
    names = [column.name for column in COLUMNS]
    assert set(names) <= {field.name for field in msgspec.structs.fields(QueueItem)}
    assert all(getattr(column, language) for column in COLUMNS for language in LANGUAGES)
    assert {column.name for column in COLUMNS if column.title} <= {column.name for column in QueuesView.columns}


def test_an_unknown_queue_is_an_answer_without_numbers_and_sorts_first() -> None:
    row = QueueRow("app:mails", "main", None, knows_workers=False)
    item = QueueItem.of(row)
    assert {getattr(item, column.name) for column in COLUMNS[1:]} == {None}
    assert [column.value(row) for column in COLUMNS] == ["app:mails", *[0] * (len(COLUMNS) - 1)]


async def test_the_page_shows_every_column_and_sorts_by_it(browse: MakeBrowser, app: App) -> None:
    browser = browse()
    for column in COLUMNS:
        page = (await browser.get(f"/queues?sort={column.name}&dir=down")).text
        assert f">{column.en}" in page.partition("<thead>")[2].partition("</thead>")[0]
        assert page.count("aria-sort=") == 1, column.name
