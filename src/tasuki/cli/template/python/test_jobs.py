"""Tests of the handlers, without a broker."""

import asyncio
import logging

import pytest
from jobs import Mail, app, mails


def test_a_mail_goes_the_whole_way(caplog: pytest.LogCaptureFixture) -> None:
    """Publish, consume until the queue is empty, and look at the effect."""

    async def publish_and_work() -> None:
        await app.open()
        await mails.publish(Mail("ada@example.com"))
        await app.run(until_empty=True, signals=False)

    caplog.set_level(logging.INFO)
    asyncio.run(publish_and_work())
    assert "Welcome, ada@example.com!" in caplog.text
