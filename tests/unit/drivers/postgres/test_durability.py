"""Settings of the server → what a commit survives."""

from __future__ import annotations

import pytest

from tasuki.drivers.postgres.connections import SETTINGS, durability_of


@pytest.mark.parametrize(
    ("values", "level"),
    [
        (("on", "on", "on", ""), "power"),
        (("on", "on", "local", ""), "power"),
        (("on", "on", "on", "standby1"), "node"),
        (("on", "on", "remote_apply", "ANY 1 (*)"), "node"),
        (("on", "on", "remote_write", "standby1"), "power"),
        (("on", "on", "local", "standby1"), "power"),
        (("on", "off", "on", "standby1"), "broker"),
        (("off", "on", "on", ""), "broker"),
        (("on", "on", "off", "standby1"), "process"),
        (("off", "off", "off", ""), "process"),
    ],
)
def test_levels(values: tuple[str, ...], level: str) -> None:
    assert durability_of(dict(zip(SETTINGS, values, strict=True))) == level
