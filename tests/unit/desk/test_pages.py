"""The pages show what there is, in both languages, in pages, and without a script."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tasuki import App
from tasuki.desk.presentation.words import LANGUAGES
from tests.unit.desk.browser import Browser, words
from tests.unit.desk.conftest import HOURLY, MakeBrowser

pytestmark = pytest.mark.anyio

PAGES = [
    "/", "/queues", "/queues/app:mails", "/queues/app:mails?tab=delayed", "/queues/app:mails?tab=retrying",
    "/queues/app:mails?tab=running", "/queues/app:mails?tab=settings", "/dead", "/dead/app:dead",
    "/dead/app:dead?by=type&group=A&where=age%20>%201", "/dead/app:dead/confirm?act=redrive",
    "/dead/app:dead/confirm?act=remove&group=0", "/workers", "/schedules", "/audit",
    "/confirm?act=pause&kind=queue&id=app:mails", "/confirm?act=purge&kind=queue&id=app:mails",
    "/confirm?act=run&kind=schedule&id=app:hourly",
]  # fmt: skip


async def fail(app: App, **mail: Any) -> str:
    """Publish a mail that fails, and let a worker find that out; its id, which is a dead letter's now."""
    from tasuki.message import DEAD_LETTER_REASON, DEAD_LETTER_TIME, LAST_ERROR, ORIGINAL_QUEUE
    from tasuki.queues.dead_letter import dead_letter

    assert app._runtime.assembly is not None
    job = await app.publish("mails", mail)
    queue = app._runtime.assembly.queues["app:mails"]
    [message] = await queue.driver.peek("mails", 1)
    letter = dead_letter(
        message, queue="app:mails", reason="max_attempts", error=str(mail), attempts=1, now=1e9, content_type="json"
    )
    assert {DEAD_LETTER_REASON, DEAD_LETTER_TIME, LAST_ERROR, ORIGINAL_QUEUE} <= letter.headers.keys()
    await app._runtime.assembly.queues["app:dead"].forward([letter])
    await queue.driver.remove("mails", [job.id])
    return job.id


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("path", PAGES)
async def test_every_page_is_there_in_every_language(browse: MakeBrowser, path: str, language: str) -> None:
    answer = await browse(headers={"accept-language": language}).get(path)

    assert answer.status_code == 200, answer.text
    assert f'<html lang="{language}"' in answer.text
    assert answer.text.count("<h1>") == 1
    assert "style=" not in answer.text
    assert not re.search(r"\son[a-z]+=", answer.text)


@pytest.mark.parametrize("path", PAGES)
async def test_a_fragment_has_only_what_changes(browse: MakeBrowser, path: str) -> None:
    browser = browse()
    answer = await browser.get(path, headers={"x-fragment": "1"})

    assert answer.status_code == 200
    assert "<html" not in answer.text
    assert 'id="main"' in answer.text


async def test_counts_are_those_of_the_broker(app: App, browse: MakeBrowser) -> None:
    for number in range(3):
        await app.publish("images", number, HOURLY)
    await app.publish("images", "later", HOURLY, delay="1h")

    text = await browse().text("/queues")

    assert re.search(r"app:images app:driver limit 10/s 3 Ready, 0 Running, 1 Delayed, \S Dead 3 0 1 \S ", text), text
    assert "Ready 3 Running 0 Delayed 1 Dead 0" in text


async def test_messages_are_listed_by_their_state(app: App, browse: MakeBrowser) -> None:
    await app.publish("mails", {"to": "now"})
    await app.publish("mails", {"to": "later"}, delay="1h")
    browser = browse()

    waiting = await browser.text("/queues/app:mails")
    delayed = await browser.text("/queues/app:mails?tab=delayed")

    assert '"now"' in waiting
    assert '"later"' not in waiting
    assert '"later"' in delayed
    assert '"now"' not in delayed


async def test_a_list_of_messages_has_pages(app: App, browse: MakeBrowser) -> None:
    for number in range(60):
        await app.publish("mails", {"number": number})
    browser = browse()

    first = await browser.get("/queues/app:mails")
    link = re.search(r'rel="next" href="([^"]*)"', first.text)
    assert link is not None
    second = await browser.get(link[1])

    assert '"number":49' in words(first.text)
    assert '"number":50' in words(second.text)
    assert 'rel="next"' not in second.text
    assert 'rel="prev"' in second.text


async def test_a_message_shows_why_it_waits_its_body_and_its_headers(app: App, browse: MakeBrowser) -> None:
    job = await app.publish("mails", {"amount": 12.50, "password": "secret-word"}, {"tenant": "acme", "api_key": "abc"})

    text = await browse().text(f"/messages/app:mails/{job.id}")

    assert "No worker: consumer app:sender is declared, and no worker of it has given a sign for 15s" in text
    assert "→ start one: tasuki run" in text
    assert '"amount": 12.5' in text
    assert "secret-word" not in text
    assert "tenant acme" in text
    assert "api_key ***" in text


async def causes(browse: MakeBrowser, queue: str, id: str, **headers: str) -> list[str]:
    """Why a message does not run, as its page says it."""
    page = (await browse(headers=headers).get(f"/messages/{queue}/{id}")).text
    return [words(each) for each in re.findall(r"<li>(<b>.*?)</li>", page)]


async def test_the_causes_are_those_of_the_command(app: App, browse: MakeBrowser) -> None:
    first, second = await app.publish("mails", {"n": 1}), await app.publish("mails", {"n": 2})
    await app.workers.pause("mails", reason="provider is down")

    told = (await app.jobs.explain("mails", second.id)).causes

    assert [cause.code for cause in told] == ["paused", "no worker", "behind"]
    for text, cause in zip(await causes(browse, "app:mails", second.id), told, strict=True):
        assert cause.text in text
        assert cause.act in text
    assert len(await causes(browse, "app:mails", first.id)) == 2


async def test_a_message_that_does_not_wait_has_its_causes(app: App, browse: MakeBrowser) -> None:
    dead = await fail(app, bad="x")

    [letter] = await causes(browse, "app:dead", dead)
    [source] = await causes(browse, "app:mails", dead)
    [gone] = await causes(browse, "app:mails", "gone")

    act = f"redrive it: tasuki redrive app:dead --id {dead}"
    assert letter == source == f"Dead letter: dead (max_attempts), in app:dead → {act}"
    assert "no such message in app:mails" in gone


async def test_a_cause_has_a_name_in_the_language_of_the_page(app: App, browse: MakeBrowser) -> None:
    job = await app.publish("images", 1, HOURLY)

    [text] = await causes(browse, "app:images", job.id, **{"accept-language": "ja"})

    assert text.startswith("ワーカーなし： コンシューマapp:images.workersは宣言されていますが")


async def test_numbers_of_a_body_keep_their_digits(app: App, browse: MakeBrowser) -> None:
    job = await app.publish("mails", b'{"n": 123456789012345678901234567890.10}', {"content_type": "json"})

    text = await browse().text(f"/messages/app:mails/{job.id}")

    assert "123456789012345678901234567890.10" in text


async def test_a_dead_letter_shows_its_error_first(app: App, browse: MakeBrowser) -> None:
    id = await fail(app, bad="no such host")

    page = (await browse().get(f"/messages/app:dead/{id}")).text

    assert page.index("no such host") < page.index("Body")
    assert "dead" in words(page)
    assert "app:mails" in page


async def test_dead_letter_queues_are_listed_with_their_sources(app: App, browse: MakeBrowser) -> None:
    await fail(app, bad="x")

    text = await browse().text("/dead")

    assert re.search(r"app:dead 1 \S+ .*?app:mails", text), text


async def test_attention_is_for_messages_without_a_worker(app: App, browse: MakeBrowser) -> None:
    await app.publish("mails", {"to": "a"})

    text = await browse().text("/")

    assert "app:mails: 1 message waits, and no worker consumes it." in text


async def test_a_worker_in_memory_is_seen(app: App, browse: MakeBrowser) -> None:
    assert app._runtime.assembly is not None
    await app._runtime.supervisor.start(["app:sender"])

    text = await browse().text("/workers")

    assert "app:sender 0/1" in text


async def test_queues_are_sorted_filtered_and_paged_by_the_address(app: App, browse: MakeBrowser) -> None:
    for _ in range(2):
        await app.publish("images", 1, HOURLY)
    browser = browse()

    by_ready = await browser.get("/queues?sort=ready&dir=down")
    filtered = await browser.text("/queues?q=MAIL")
    none = await browser.text("/queues?q=nothing")

    assert by_ready.text.index('id="q-app:images"') < by_ready.text.index('id="q-app:mails"')
    assert "app:images" not in filtered
    assert (
        '<input type="hidden" name="sort" value="ready"><input type="hidden" name="dir" value="down">' in by_ready.text
    )
    assert "No waiting message was found." in none, "what is no queue may be an id"


async def test_language_and_theme_are_remembered(browse: MakeBrowser) -> None:
    browser = browse()

    await browser.get("/queues?lang=ja&theme=dark&q=mails")
    answer = await browser.get("/")

    assert '<html lang="ja" data-theme="dark">' in answer.text


@pytest.mark.parametrize(
    "path", ["/nope", "/queues/app:nope", "/messages/app:nope/1", "/messages/app:mails/1", "/queues/a/b/c"]
)
async def test_what_is_not_there_is_404(browse: MakeBrowser, path: str) -> None:
    assert (await browse().get(path)).status_code == 404


async def test_a_desk_can_be_mounted_in_a_folder(app: App) -> None:
    import httpx
    from starlette.applications import Starlette
    from starlette.routing import Mount

    site = Starlette(routes=[Mount("/ops/desk", app.desk(is_open=True))])
    client = httpx.AsyncClient(transport=httpx.ASGITransport(site), base_url="http://localhost")
    browser = Browser(client, app.desk(is_open=True))
    async with client:
        page = (await browser.get("/ops/desk/")).text
        assert 'href="/ops/desk/queues"' in page
        css = re.search(r'rel="stylesheet" href="([^"]*)"', page)
        assert css is not None
        assert (await browser.get(css[1])).status_code == 200
        done = await browser.act("/ops/desk/confirm?act=pause&kind=queue&id=app:mails&back=/queues", reason="test")
        assert "app:mails is paused." in words(done.text)
        assert str(done.url.path) == "/ops/desk/queues"


async def test_a_page_is_compressed_for_who_can_read_that(browse: MakeBrowser) -> None:
    answer = await browse().get("/queues", headers={"accept-encoding": "gzip"})

    assert answer.headers["content-encoding"] == "gzip"
    assert "app:mails" in answer.text


async def test_a_closed_app_is_an_answer_too(app: App, browse: MakeBrowser) -> None:
    browser = browse()
    await app.close()

    answer = await browser.get("/")

    assert answer.status_code == 503
    assert "the app is not open" in words(answer.text)


async def test_a_pause_ends_at_a_time_of_the_viewer(app: App, browse: MakeBrowser) -> None:
    browser = browse()
    await browser.act("/confirm?act=pause&kind=queue&id=app:mails", **{"for": "1h", "reason": "<b>bad</b> deploy"})
    for path in ("/", "/queues", "/queues/app:mails"):
        page = (await browser.get(path)).text
        assert "paused until <time datetime=" in page, path
        assert ": &lt;b&gt;bad&lt;/b&gt; deploy" in page, path
    japanese = await browse(headers={"accept-language": "ja"}).text("/queues")
    assert "UTC まで）" in japanese, "the blank is that of a tag"
