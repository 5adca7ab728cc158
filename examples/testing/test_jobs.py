import jobs
import pytest
from jobs import Mail, mails

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def outbox(monkeypatch):
    monkeypatch.setattr(jobs, "outbox", [])


async def test_a_day_passes(tasuki_app):
    await jobs.sign_up("ada@example.com")
    assert tasuki_app.published(mails)[0] == Mail("ada@example.com", "Welcome")
    assert (await tasuki_app.drain()).done == 1
    await tasuki_app.advance("1d")
    assert jobs.outbox == ["Welcome, ada@example.com", "How do you like it, ada@example.com"]


async def test_a_retry(tasuki_app):
    await mails.publish(Mail("ada@example.com", "Hello"))
    with tasuki_app.patch(jobs, "deliver", ConnectionError("refused"), times=2):
        assert (await tasuki_app.drain()).failed == 1
        assert tasuki_app.waiting(mails)[0].error == "ConnectionError: refused"
        await tasuki_app.advance("1h")
    assert tasuki_app.settled(mails) == ["nack", "nack", "ack"]


async def test_a_dead_letter(tasuki_app):
    await mails.publish(Mail("nowhere", "Hello"))
    await tasuki_app.drain()
    assert [(letter.reason, letter.error) for letter in tasuki_app.dead] == [("rejected", "'nowhere' is no address")]


async def test_a_killed_worker(tasuki_app):
    tasuki_app.kill_worker()
    await mails.publish(Mail("ada@example.com", "Hello"))
    await tasuki_app.advance("30s")
    assert jobs.outbox == ["Hello, ada@example.com"] * 2  # at least once: the worker died before its ack
