"""Host: what the engine needs of the project whose letters it moves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from tasuki.contracts.handler import Handler
from tasuki.contracts.observer import Observer
from tasuki.kinds.check.project import Project
from tasuki.kinds.check.rights import Rights
from tasuki.queues.queue import Queue
from tasuki.state.shared import SharedState


class Host(Protocol):
    """The live objects of an open app."""

    @property
    def project(self) -> Project:
        """Its entries."""

    @property
    def rights(self) -> Rights:
        """Of its application, and of people."""

    @property
    def queues(self) -> Mapping[str, Queue]:
        """By their ids."""

    @property
    def called(self) -> Mapping[str, Handler]:
        """The handlers of consumers, by their ids."""

    @property
    def observers(self) -> Sequence[Observer]:
        """They are notified of each message that is put into a queue."""

    def queue(self, id: str) -> Queue:
        """The queue of an id. Raises QueueNotFoundError, which names similar ids."""

    def state_of(self, queue: str) -> SharedState | None:
        """The state of a queue by its id; None: neither its driver nor its entry has a store for it."""
