"""Making a queue exist at SQS, standard or FIFO."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tasuki.contracts.driver import QueueSpec
from tasuki.drivers.sqs.clients import Clients, code_of, is_not_allowed
from tasuki.drivers.sqs.envelope import LARGEST
from tasuki.drivers.sqs.limits import (
    FIFO,
    RETENTION,
    asked_for,
    broker_name,
    in_force,
    is_first_in_first_out,
    suspects_name,
    whole,
)
from tasuki.errors import AccessDeniedError, QueueConflictError, QueueNotFoundError

LEFT_BEHIND = 3600.0
"""Seconds for which a temporary queue keeps a message: its process may be gone, and the queue stays."""
_NOBODY = "tasuki-is-anybody-there"
_LARGEST = "MaximumMessageSize"
_COUNTS = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible", "ApproximateNumberOfMessagesDelayed"]


@dataclass(frozen=True, slots=True)
class Found:
    """A queue that exists."""

    url: str
    is_fifo: bool
    largest: int
    """Bytes of a message."""
    kept_for: float
    """Seconds for which SQS keeps a message."""
    options: Mapping[str, Any]
    """The queue's options, as SQS has them."""


class Declaring:
    """Creates queues with the driver's defaults; of one that exists only what its options say is changed."""

    def __init__(self, driver: str, clients: Clients, *, retention: float, default_delay: float) -> None:
        self._driver = driver
        self._clients = clients
        self._retention = retention
        self._default_delay = default_delay

    async def declare(self, spec: QueueSpec) -> Found:
        """Find the queue, or create it.

        Raises:
            QueueConflictError: its messages are in a queue of the other sort.
        """
        is_fifo = is_first_in_first_out(spec)
        await self._check_other(spec, is_fifo=is_fifo)
        url = await self._url(spec, is_fifo=is_fifo) or await self._create(spec, is_fifo=is_fifo)
        attributes = await self._attributes(spec, url)
        wanted = asked_for(spec.options)
        changes = {name: value for name, value in wanted.items() if attributes.get(name, value) != value}
        if changes:
            await self._clients.call("set_queue_attributes", spec.name, QueueUrl=url, Attributes=changes)
        return self._found(spec, url, {**attributes, **changes}, is_fifo=is_fifo)

    async def inspect(self, spec: QueueSpec) -> Found:
        """Find the queue, and leave everything as it is. Raises QueueNotFoundError if it does not exist."""
        is_fifo = is_first_in_first_out(spec)
        for sort in (is_fifo,) if spec.name.endswith(FIFO) else (is_fifo, not is_fifo):
            if url := await self._url(spec, is_fifo=sort):
                return self._found(spec, url, await self._attributes(spec, url), is_fifo=sort)
        problem = f"queue {spec.name!r} does not exist at SQS; a worker or a publisher that declares it makes it"
        raise QueueNotFoundError(problem, driver=self._driver, queue=spec.name)

    def _found(self, spec: QueueSpec, url: str, attributes: Mapping[str, str], *, is_fifo: bool) -> Found:
        """Its options by its attributes; SQS's own limit and our retention where we may not read them."""
        largest, kept_for = attributes.get(_LARGEST, LARGEST), attributes.get(RETENTION, self._retention_of(spec))
        return Found(url, is_fifo, int(largest), float(kept_for), in_force(spec.options, attributes))

    async def _attributes(self, spec: QueueSpec, url: str) -> dict[str, str]:
        """The attributes that matter here; none where we may not ask, as a publisher that may only send."""
        names = list(dict.fromkeys((_LARGEST, RETENTION, *asked_for(spec.options))))
        try:
            answer = await self._clients.call("get_queue_attributes", spec.name, QueueUrl=url, AttributeNames=names)
        except AccessDeniedError:
            return {}
        return dict(answer.get("Attributes") or {})

    def _retention_of(self, spec: QueueSpec) -> float:
        return float(spec.options.get("message_retention_period") or self._retention)

    async def find_suspects(self, spec: QueueSpec, url: str) -> str | None:
        """The address of a queue's suspects; None: no process has made it yet, or this one may not see it."""
        try:
            return await self._url_of(spec, suspects_name(url))
        except AccessDeniedError:
            return None

    async def create_suspects(self, spec: QueueSpec, url: str) -> str:
        """The same; it is made if it does not exist."""
        if found := await self.find_suspects(spec, url):
            return found
        attributes = {
            "VisibilityTimeout": str(whole(spec.lease)),
            RETENTION: str(whole(self._retention_of(spec))),
        }
        name = suspects_name(url)
        answer = await self._clients.call("create_queue", spec.name, QueueName=name, Attributes=attributes)
        return str(answer["QueueUrl"])

    async def counts(self, queue: str, url: str) -> tuple[int, int, int]:
        """How many messages are ready, held and delayed, approximately."""
        answer = await self._clients.call("get_queue_attributes", queue, QueueUrl=url, AttributeNames=_COUNTS)
        attributes = answer.get("Attributes") or {}
        ready, in_flight, delayed = (int(attributes.get(name, 0)) for name in _COUNTS)
        return ready, in_flight, delayed

    async def reach(self) -> None:
        """Raise if SQS cannot be reached, or does not know the keys; that they may do something is not needed yet."""
        try:
            await self._clients.call("get_queue_url", QueueName=_NOBODY)
        except QueueNotFoundError:
            return
        except AccessDeniedError as error:
            if not is_not_allowed(code_of(error.__cause__)):
                raise

    async def _url(self, spec: QueueSpec, *, is_fifo: bool) -> str | None:
        return await self._url_of(spec, broker_name(spec.name, is_fifo=is_fifo))

    async def _url_of(self, spec: QueueSpec, name: str) -> str | None:
        try:
            return str((await self._clients.call("get_queue_url", spec.name, QueueName=name))["QueueUrl"])
        except QueueNotFoundError:
            return None

    async def _create(self, spec: QueueSpec, *, is_fifo: bool) -> str:
        retention = min(self._retention, LEFT_BEHIND) if spec.temporary else self._retention
        attributes = {
            "VisibilityTimeout": str(whole(spec.lease)),
            RETENTION: str(whole(retention)),
            "DelaySeconds": str(whole(self._default_delay)),
            **asked_for(spec.options),
        }
        if is_fifo:
            attributes["FifoQueue"] = "true"
            if spec.dedup_window is None:  # its ids are random: let each group have its own throughput
                attributes |= {"DeduplicationScope": "messageGroup", "FifoThroughputLimit": "perMessageGroupId"}
        name = broker_name(spec.name, is_fifo=is_fifo)
        try:
            answer = await self._clients.call("create_queue", spec.name, QueueName=name, Attributes=attributes)
        except QueueConflictError:
            url = await self._url(spec, is_fifo=is_fifo)  # another process made it meanwhile, with other attributes
            if url is None:
                raise
            return url
        return str(answer["QueueUrl"])

    async def _check_other(self, spec: QueueSpec, *, is_fifo: bool) -> None:
        """Refuse the other kind: SQS cannot turn a standard queue into a FIFO queue, whose messages would be lost."""
        if spec.name.endswith(FIFO):
            return
        try:
            url = await self._url(spec, is_fifo=not is_fifo)
            held = sum(await self.counts(spec.name, url)) if url else 0
        except (AccessDeniedError, QueueNotFoundError):
            return  # who may not see the other queue cannot have used it
        if held:
            name = broker_name(spec.name, is_fifo=not is_fifo)
            problem = (
                f"queue {spec.name!r} is wanted {'with' if is_fifo else 'without'} ordering or dedup_window, but SQS "
                f"cannot change that, and its queue {name!r} still holds {held} messages; consume or delete them first"
            )
            raise QueueConflictError(problem, driver=self._driver, queue=spec.name)
