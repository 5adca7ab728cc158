"""``store.memory``: keys and values that handlers share, in the memory of one process."""

from __future__ import annotations

from tasuki.fields.kinds import Kind
from tasuki.fields.types import Config, Count, PositiveDuration, PositiveSize
from tasuki.kinds.entries.lifecycle import REFERENCES, LifecycleConfig


class MemoryStoreConfig(Config):
    """A store in memory."""

    max_size: Count = 10_000
    """Most keys; 0: the default."""
    max_bytes: PositiveSize = 64 * 2**20
    """Most memory for keys and values."""
    cleanup_interval: PositiveDuration = 300.0
    """How often expired keys are removed."""
    lifecycle: LifecycleConfig = LifecycleConfig()
    """When it starts and stops."""


KINDS = (Kind("store.memory", MemoryStoreConfig, REFERENCES),)
