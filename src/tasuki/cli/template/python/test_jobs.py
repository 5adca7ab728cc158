"""Tests of the handlers, in memory and in virtual time: no broker runs, and no test waits."""

import pytest
from jobs import Mail, mails

from tasuki.testing import TestApp


def test_a_mail_is_sent(tasuki_app: TestApp, caplog: pytest.LogCaptureFixture) -> None:
    """Publish, handle all that is due, and look at the effect."""
    caplog.set_level("INFO")
    tasuki_app.sync.publish(mails, Mail("ada@example.com"))
    assert tasuki_app.sync.drain().done == 1
    assert "Welcome, ada@example.com!" in caplog.text
