"""Dead-letter queues that verify signatures: a dead letter keeps the signature of the queue that it came from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tasuki.fields.types import Config
from tasuki.kinds.entries.consumer import ConsumerConfig
from tasuki.kinds.entries.queue import QueueConfig


def unreadable_dead_letters(configs: Mapping[str, Config]) -> Iterator[tuple[str, str, str]]:
    """Id of each queue whose consumer would refuse all dead letters of another, with the problem and the remedy."""
    queues = {id: config for id, config in configs.items() if isinstance(config, QueueConfig)}
    consumed = {config.queue: id for id, config in configs.items() if isinstance(config, ConsumerConfig)}
    for id, config in queues.items():
        dead = config.dead_letter.queue if config.dead_letter else ""
        target = queues.get(dead)
        if target is None or target.signing is None or dead not in consumed:
            continue
        if config.signing is not None or target.signing.required:
            problem = (
                f"{consumed[dead]!r} would refuse every dead letter of {id!r}: "
                "a dead letter is not signed for the queue that it goes to"
            )
            yield dead, problem, "remove signing from the dead-letter queue, or remove its consumer"
