"""The page of a worker, workers that have gone, and a message page that waits for no worker."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from tasuki import App
from tasuki.consumers.reports import snapshot
from tasuki.desk.reading import attention, rows
from tasuki.desk.reading.attention import gone_of, lost_of
from tasuki.errors import BrokerUnavailableError
from tasuki.observe.history import Process
from tasuki.state.worker_record import PRESENCE, Presence, PresentConsumer, encode
from tasuki.testing.clock import FakeClock
from tests.unit.desk.browser import Browser, words
from tests.unit.desk.conftest import MakeBrowser

pytestmark = pytest.mark.anyio

NOW = 1_700_000_000.0
MINUTE = int(NOW // 60)


def present(pid: int) -> Presence:
    return Presence("host", pid, "1.0", NOW - 100, NOW)


def test_who_has_gone_and_how() -> None:
    processes = [
        Process("host", 1, MINUTE - 5, True, False),
        Process("host", 2, MINUTE - 30, True, False),
        Process("host", 3, MINUTE - 2, True, True),
        Process("web", 4, MINUTE - 10, False, False),
        Process("host", 5, MINUTE, True, False),
    ]
    gone = gone_of(processes, [present(1)], NOW)

    assert [(each.pid, each.is_stopped) for each in gone] == [(3, True), (2, False)]
    assert gone[0].last == (MINUTE - 1) * 60


def test_a_lost_worker_is_gone_also_where_it_never_handled_a_message() -> None:
    lost = msgspec.structs.replace(present(9), seen=NOW - 40)
    (gone,) = gone_of([Process("host", 9, MINUTE - 5, True, False)], [], NOW, [lost])
    assert (gone.pid, gone.last, gone.is_stopped, gone.key) == (9, NOW - 40, False, lost.key)


def test_a_silent_entry_is_of_a_lost_worker_unless_another_store_or_its_history_knows_better() -> None:
    silent = [msgspec.structs.replace(present(pid), seen=NOW - 100 * pid) for pid in (1, 2, 3, 4)]
    elsewhere = msgspec.structs.replace(present(2), started=NOW - 100.4)
    again = msgspec.structs.replace(present(4), started=NOW - 1, process="another")
    stopped = Process("host", 3, MINUTE - 2, True, True)
    lost = lost_of(silent, [elsewhere, again], [stopped, Process("host", 1, MINUTE - 2, True, False)])
    assert [worker.pid for worker in lost] == [1, 4], "one that follows with its number is another worker"


async def test_a_worker_has_a_page(app: App, browse: MakeBrowser) -> None:
    assert app._runtime.assembly is not None
    consumer = app._runtime.assembly.consumers["app:sender"]
    await consumer.start()
    try:
        await app.publish("mails", {"n": 1})
        while consumer.metrics.acked < 1:
            await asyncio.sleep(0)
        browser = browse()
        page = (await browser.get("/workers")).text
        link = page.split('class="open" href="')[1].split('"')[0]

        text = await browser.text(link)
        events = await browser.text(f"{link}?tab=events")
    finally:
        await consumer.stop(1)

    assert "app:sender" in text
    assert "No handler runs now." in text
    assert "Scale…" in text
    assert "settled" in events
    assert "started" in events
    gone = await browser.get("/workers/nobody:1:2")
    assert gone.status_code == 404
    assert "gives no sign any more" in words(gone.text)


async def test_events_are_for_those_who_may_see_messages(app: App, browse: MakeBrowser) -> None:
    assert app._runtime.assembly is not None
    consumer = app._runtime.assembly.consumers["app:sender"]
    await consumer.start()
    try:
        browser = browse()
        page = (await browser.get("/workers")).text
        link = page.split('class="open" href="')[1].split('"')[0]
        browser.desk.tools.acts.rights().may = lambda actor, act, id: act != "peek"  # type: ignore[method-assign]
        assert "no policy allows queue.admin.peek" in await browser.text(f"{link}?tab=events")
    finally:
        await consumer.stop(1)


async def test_a_lost_worker_stays_on_its_page_until_it_is_acknowledged(tmp_path: Path) -> None:
    app = App(f"sqlite:///{tmp_path / 'queue.db'}", root=tmp_path)
    app.queue("mails").consumer(name="sender", lifecycle={"auto_start": False})(nothing)
    async with app:
        await app.publish("mails", 1)
        state = app._runtime.live().state_of("app:mails")
        assert state is not None
        store = await state.store()
        now = await store.time()
        consumers = [PresentConsumer("app:sender", "mails", "app:driver", 1)]
        alive, lost, stranger = (
            Presence("web", 7, "1", now - 900, now - 1, consumers),
            Presence("web", 8, "1", now - 900, now - 60, consumers),
            Presence("web", 9, "1", now - 900, now - 60, [PresentConsumer("x", "others", "app:driver", 1)]),
        )
        for each in (alive, lost, stranger):
            await store.put(each.key, encode(each))
        desk = app.desk(is_open=True)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(desk), base_url="http://localhost") as client:
            browser = Browser(client, desk)
            assert "Worker web:8 has been silent for 1 m" in await browser.text("/")
            answer = (await browser.get("/api/v1/workers")).json()
            assert [each["id"] for each in answer["items"]] == ["web:7"]
            assert [each["id"] for each in answer["lost"]] == ["web:8"], "a worker of another project is none of ours"
            page = (await browser.get("/workers")).text
            link = page.split('href="/confirm?act=acknowledge')[1].split('"')[0].replace("&amp;", "&")
            done = await browser.act(f"/confirm?act=acknowledge{link}")
            assert "Acknowledged: worker web:8 is gone." in words(done.text)
            assert "has been silent" not in await browser.text("/")
            audit = (await browser.get("/api/v1/audit")).json()["items"]
            assert [(each["act"], each["target"]) for each in audit] == [("acknowledge", "app:mails")]
        kept = [entry.key for entry in (await store.list(PRESENCE)).entries]
        assert kept == [alive.key, stranger.key]


async def test_each_live_worker_of_the_project_counts_once(tmp_path: Path) -> None:
    """Containers with the network of their host have one name; a store may be of several projects."""
    app = App(f"sqlite:///{tmp_path / 'queue.db'}", root=tmp_path)
    app.queue("mails").consumer(name="sender", lifecycle={"auto_start": False})(nothing)
    async with app:
        await app.publish("mails", 1)
        state = app._runtime.live().state_of("app:mails")
        assert state is not None
        store = await state.store()
        now = await store.time()
        ours, others = ([PresentConsumer(f"app:{queue}", queue, "app:driver", 2, 1)] for queue in ("mails", "others"))
        for each in (
            Presence("node", 1, "1", now - 900, now - 1, ours, process="a"),
            Presence("node", 1, "1", now - 60, now - 2, ours, process="b"),
            Presence("node", 1, "1", now - 59.8, now - 3, ours, process="c"),
            Presence("web", 7, "1", now - 900, now - 9, ours, process="killed and started again"),
            Presence("web", 7, "1", now - 8, now - 1, ours, process="d"),
            Presence("web", 8, "1", now - 900, now - 1, others, process="of another project"),
        ):
            await store.put(each.key, encode(each))
        desk = app.desk(is_open=True)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(desk), base_url="http://localhost") as client:
            browser = Browser(client, desk)
            totals = (await browser.get("/api/v1/overview")).json()["totals"]
            assert (totals["workers"], totals["running"], totals["places"]) == (4, 4, 8)
            (row,) = (await browser.get("/api/v1/queues")).json()["items"]
            assert (row["workers"], row["running"]) == (4, 4)
            assert len((await browser.get("/api/v1/workers")).json()["items"]) == 4


async def test_a_store_that_is_back_has_lost_no_worker_before_their_next_signs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app, clock = App(f"sqlite:///{tmp_path / 'queue.db'}", root=tmp_path), FakeClock()
    app.queue("mails").consumer(name="sender")(nothing)
    async with app:
        await app.publish("mails", 1)
        state = app._runtime.live().state_of("app:mails")
        assert state is not None
        store = await state.store()
        now = await store.time()
        worker = Presence("web", 7, "1", now - 900, now - 60, [PresentConsumer("app:sender", "mails", "app:driver", 1)])
        await store.put(worker.key, encode(worker))
        sampler = app.desk(is_open=True).tools.sampler
        monkeypatch.setattr(sampler, "_clock", clock)

        async def codes() -> set[str]:
            clock.advance(10)
            return {each.key.partition(".")[2] for each in attention.notices_of(await sampler.latest(now=True))}

        with monkeypatch.context() as away:
            away.setattr(rows, "crew_of", silent)
            assert await codes() == {"problem"}
        assert await codes() == set(), "it may live, and give its next sign within five seconds"
        assert await codes() == {"none_alive", "lost", "no_worker"}


async def silent(*_: object) -> None:
    raise BrokerUnavailableError("the store is silent")


async def nothing(body: Any) -> None: ...


async def test_a_handler_that_runs_for_too_long_is_a_notice_that_leads_to_its_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshot, "LEAST", 0.05)
    app, ends = App(f"sqlite:///{tmp_path / 'queue.db'}", root=tmp_path), asyncio.Event()

    @app.queue("mails").consumer(name="sender")
    async def send(body: Any) -> None:
        await ends.wait()

    async with app.worker():
        job = await app.publish("mails", 1)
        desk = app.desk(is_open=True)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(desk), base_url="http://localhost") as client:
            async with asyncio.timeout(60):
                while not (notices := attention.notices_of(await desk.tools.sampler.latest(now=True))):
                    await asyncio.sleep(0.1)
            (notice,) = notices
            assert notice.path == ("messages", "app:mails", job.id)
            page = (await Browser(client, desk).get("/")).text
            assert f'href="/messages/app:mails/{job.id}"' in page
            assert "app:mails: app:send has run for " in words(page)
            assert "expected at most 50 ms; it has no handler_timeout." in words(page)
        ends.set()


async def test_a_message_page_does_not_wait_for_a_worker_that_is_silent(tmp_path: Path) -> None:
    app = App(f"sqlite:///{tmp_path / 'queue.db'}", root=tmp_path)
    mails = app.queue("mails")

    @mails.consumer(name="sender", lifecycle={"auto_start": False})
    async def send(body: Any) -> None: ...

    async with app:
        job = await app.publish("mails", 1)
        assert app._runtime.assembly is not None
        state = app._runtime.assembly.state_of("app:mails")
        assert state is not None
        store = await state.store()
        now = await store.time()
        silent = Presence("elsewhere", 7, "1", now - 9, now, [PresentConsumer("app:sender", "mails", "app:driver", 1)])
        await store.put(silent.key, encode(silent))
        assert silent.key.startswith(PRESENCE)
        desk = app.desk(is_open=True)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(desk), base_url="http://localhost") as client:
            browser = Browser(client, desk)
            for _ in range(2):
                text = await browser.text(f"/messages/app:mails/{job.id}")
                assert "Next:" in text
                # The question is still open: the page has not waited for its answer.
                assert len(desk.tools.asked._beside._tasks) == 1
        await desk.tools.asked.close()
        assert not desk.tools.asked._beside._tasks
