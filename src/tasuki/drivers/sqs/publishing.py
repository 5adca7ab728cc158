"""Sending messages: checked here first, then in batches of ten."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from uuid import uuid4

import msgspec

from tasuki.contracts.driver import Outgoing
from tasuki.drivers.sqs.clients import MOST_ENTRIES, Clients, Result, at_once, in_tens, in_turns, results_of
from tasuki.drivers.sqs.envelope import LARGEST_BINARY, Written, digest, write
from tasuki.drivers.sqs.limits import LONGEST_DELAY, own_group, token, whole
from tasuki.drivers.sqs.source import Parameters, Source
from tasuki.errors import BrokerUnavailableError, DriverError, MessageTooLargeError, UnsupportedError

_UNSENT = "not sent, because an earlier message of the batch failed and the order of keys must hold"


class Entry(msgspec.Struct, frozen=True):
    """One message to send, at its place in the batch."""

    index: int
    written: Written
    parameters: Parameters
    """What goes into the request besides body and attributes."""


class Publishing:
    """Sends to any queue of the driver."""

    def __init__(self, driver: str, clients: Clients, *, checks_digests: bool) -> None:
        self._driver = driver
        self._clients = clients
        self._checks_digests = checks_digests

    async def publish(self, source: Source, batch: Sequence[Outgoing]) -> list[Result]:
        """One result a message."""
        results: list[Result] = [None] * len(batch)
        entries: list[Entry] = []
        for index, message in enumerate(batch):
            try:
                entries.append(self._entry(source, index, message))
            except DriverError as refusal:
                results[index] = refusal
        await at_once(_lanes(source, entries), lambda lane: self._send_lane(source, lane, results))
        return results

    async def send(self, source: Source, entries: Sequence[Entry], results: list[Result]) -> None:
        """Send entries for which any order will do, and note their results at their indices."""
        parts = list(in_tens(entries, _size, source.largest))
        await at_once(parts, lambda part: self._send(source, part, results))

    async def _send_lane(self, source: Source, lane: list[Entry], results: list[Result]) -> None:
        if not source.is_fifo:
            await self.send(source, lane, results)
            return
        failed = False
        for part in in_turns(lane, _group, _size, source.largest):
            if failed:
                error = BrokerUnavailableError(_UNSENT, driver=self._driver, queue=source.spec.name)
                for entry in part:
                    results[entry.index] = error
                continue
            await self._send(source, part, results)
            failed = any(results[entry.index] is not None for entry in part)

    async def _send(self, source: Source, part: list[Entry], results: list[Result]) -> None:
        """One request."""
        requests = [
            {
                "Id": str(number),
                "MessageBody": entry.written.body,
                "MessageAttributes": entry.written.attributes,
                **entry.parameters,
            }
            for number, entry in enumerate(part)
        ]
        name = source.spec.name
        try:
            answer = await self._clients.call("send_message_batch", name, QueueUrl=source.url, Entries=requests)
        except DriverError as error:
            for entry in part:
                results[entry.index] = error
            return
        found, _ = results_of(answer, len(part), self._driver, name)
        if self._checks_digests:
            self._check_digests(part, answer.get("Successful") or (), found, name)
        for entry, result in zip(part, found, strict=True):
            results[entry.index] = result

    def _check_digests(
        self, part: list[Entry], successful: Sequence[Parameters], found: list[Result], queue: str
    ) -> None:
        for success in successful:
            number = int(success["Id"])
            if success.get("MD5OfMessageBody") not in (None, digest(part[number].written.body)):
                problem = f"SQS stored another body than driver {self._driver!r} sent (its MD5 differs)"
                found[number] = DriverError(problem, driver=self._driver, queue=queue, outcome="unknown")

    def _check_delay(self, source: Source, message: Outgoing, delay: int) -> None:
        """A delayed message of a FIFO queue is hidden where it is, and its retention goes on; others are sent again."""
        if source.is_fifo and delay >= source.kept_for:
            text = (
                f"message {message.id!r} was not stored: SQS deletes messages of this FIFO queue {source.kept_for:g} s "
                f"after they are sent, and this one has a delay of {delay} s; give the queue a longer "
                "MessageRetentionPeriod (its option message_retention_period)"
            )
            raise UnsupportedError(text, driver=self._driver, queue=source.spec.name)

    def _entry(self, source: Source, index: int, message: Outgoing) -> Entry:
        """Encode and check one message. Raises MessageTooLargeError or UnsupportedError."""
        key = message.key if source.is_keyed else None
        delay = whole(message.delay) if message.delay > 0 else 0
        self._check_delay(source, message, delay)
        native = 0 if source.is_fifo else min(delay, LONGEST_DELAY)
        name = source.spec.name
        try:
            written = write(message, key=key, delay=message.delay if delay > native else 0.0)
        except (TypeError, ValueError, OverflowError, msgspec.MsgspecError) as problem:
            text = f"message {message.id!r} was not stored: it cannot be written: {problem}"
            raise UnsupportedError(text, driver=self._driver, queue=name) from problem
        is_too_large = written.size > source.largest or (
            len(message.body) > LARGEST_BINARY and len(written.body) > len(message.body)
        )
        if is_too_large:
            text = (
                f"message {message.id!r} was not stored: it takes {written.size} bytes with its headers, and SQS takes "
                f"{source.largest} (a body that is not text takes a third more, and may have {LARGEST_BINARY})"
            )
            raise MessageTooLargeError(text, driver=self._driver, queue=name)
        if source.is_fifo:
            return Entry(index, written, _fifo(source, message, key))
        return Entry(index, written, {"DelaySeconds": native} if native else {})


def _fifo(source: Source, message: Outgoing, key: str | None) -> Parameters:
    """The group: its key, or one of its own; and the id that SQS remembers: its own, or a random one."""
    group = token(key) if key is not None else own_group(message.id)
    is_remembered = source.spec.dedup_window is not None and message.deduplicate
    return {"MessageGroupId": group, "MessageDeduplicationId": token(message.id) if is_remembered else random_id()}


def _size(entry: Entry) -> int:
    return entry.written.size


def _group(entry: Entry) -> str:
    group: str = entry.parameters["MessageGroupId"]
    return group


def _lanes(source: Source, entries: list[Entry]) -> list[list[Entry]]:
    """Lists that can be sent at the same time: of a FIFO queue all messages of a group are in one, in order."""
    if not source.is_fifo:
        return [entries] if entries else []
    lanes: list[list[Entry]] = [[] for _ in range(-(-len(entries) // MOST_ENTRIES))]
    for entry in entries:
        lanes[zlib.crc32(_group(entry).encode()) % len(lanes)].append(entry)
    return [lane for lane in lanes if lane]


def random_id() -> str:
    """An id for deduplication that no other message has."""
    return uuid4().hex
