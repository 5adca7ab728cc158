"""Attributes: the options of a queue as SQS knows them, in whole seconds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tasuki.drivers.sqs.receiving.timing import whole

RETENTION = "MessageRetentionPeriod"
_NAMES = {
    "message_retention_period": RETENTION,
    "default_delay_seconds": "DelaySeconds",
    "default_visibility_timeout": "VisibilityTimeout",
}
"""Option → attribute."""


def asked_for(options: Mapping[str, Any]) -> dict[str, str]:
    """The attributes that the options ask for."""
    return {name: str(whole(options[key])) for key, name in _NAMES.items() if options.get(key) is not None}


def in_force(options: Mapping[str, Any], attributes: Mapping[str, str]) -> dict[str, Any]:
    """The options as they were given, with what SQS says in place of what they ask for."""
    asked = {key: name for key, name in _NAMES.items() if options.get(key) is not None}
    said = {key: float(attributes[name]) for key, name in asked.items() if name in attributes}
    return {**options, **said}
