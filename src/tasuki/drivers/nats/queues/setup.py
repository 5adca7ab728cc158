"""Setup: the streams and consumers of a queue, made and changed so that nothing is lost.

A stream's configuration tells all options in force: those that the server does not know stand in its metadata.
"""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from tasuki.contracts.driver import SILENCE, Durability, QueueSpec
from tasuki.drivers.nats.failures import (
    is_missing,
    is_stream_missing,
    is_stream_or_message_missing,
    is_wrong_sequence,
    refusal,
)
from tasuki.drivers.nats.protocol.api import SECOND, Answer, Request, SubjectStream, ask, data_of, demand, store
from tasuki.drivers.nats.protocol.connection import Connection
from tasuki.drivers.nats.queues.names import (
    DELAYED,
    MADE_LATER,
    PLAIN,
    UNIQUE,
    Lane,
    Names,
    Plan,
    merged,
    plan_in,
    plan_of,
)
from tasuki.drivers.toolkit.stores import require
from tasuki.errors import DriverError, QueueConflictError

QUORUM = 3
"""Replicas from which the loss of one server loses nothing."""


def level(storage: str, replicas: int, *, is_synced: bool) -> Durability:
    """The level of the contract.

    Without a sync for each write a server that loses its power forgets what it had confirmed. Replicas alone do not
    mend that: with its memory it loses its votes, and the other servers may go on without the newest messages.
    """
    if storage != "file":
        return "process"
    if not is_synced:
        return "broker"
    return "node" if replicas >= QUORUM else "power"


def says_always(monitoring: str, timeout: float) -> bool:
    """Whether the server's monitoring page says that each write is synced; False where it says nothing.

    Blocks: call it in a thread.
    """
    address = monitoring.rstrip("/") + "/varz"
    if not address.startswith(("http://", "https://")):
        return False
    try:
        with urllib.request.urlopen(address, timeout=timeout) as answer:  # noqa: S310 - the scheme was checked
            page: Any = json.loads(answer.read())
    except (OSError, ValueError):
        return False
    return is_always(page)


def is_always(page: Any) -> bool:
    """Whether ``/varz`` says ``sync_interval: always``."""
    try:
        return bool(page["jetstream"]["config"].get("sync_always"))
    except (KeyError, TypeError, AttributeError):
        return False


_TEMPORARY = "tasuki.temporary"

_LEASE = "tasuki.lease"

_DEDUP_WINDOW = "tasuki.dedup_window"

_IF_GIVEN = frozenset({_TEMPORARY, _DEDUP_WINDOW})
"""Metadata that a declaration without the option takes out."""


_DUPLICATE_WINDOW = 120 * SECOND
"""The server's own; it must not be longer than messages are kept."""

MOST_PULLS = 8192
"""Pull requests that may wait at one consumer: one for each process."""


@dataclass(frozen=True, slots=True)
class Storage:
    """Where streams live."""

    kind: str
    """``file`` or ``memory``."""
    replicas: int


async def make_records_stream(connection: Connection, names: Names, storage: Storage) -> None:
    """The stream of what the driver notes itself: the last word on each subject; and our layout in it."""
    config = {
        "subjects": [names.record_subjects],
        "retention": "limits",
        "discard": "old",
        "storage": storage.kind,
        "num_replicas": storage.replicas,
        "description": "Tasuki: returned deliveries, and processes that receive",
    }
    await SubjectStream(names.records_stream).make(connection, config)
    await record_layout(connection, names)


async def make_queue(connection: Connection, names: Names, spec: QueueSpec, storage: Storage) -> Answer:
    """Make a queue's stream and consumers what the spec says; returns the server's description of the stream.

    Raises:
        QueueConflictError: the stream holds messages that the new options cannot be kept for.
    """
    stream = names.stream(spec.name)
    (info,) = await demand(connection, spec.name, (f"STREAM.INFO.{stream}", {}), unless=is_stream_missing)
    plan = plan_of(spec)
    if "error" in info:
        config = stream_config(names, spec, plan, storage)
        (info,) = await demand(connection, spec.name, (f"STREAM.CREATE.{stream}", config))
    else:
        kept = info["config"].get("metadata") or {}
        _check_storage(connection, spec, info["config"])
        plan = await _changed_plan(connection, names, spec, plan_in(kept), plan)
        config = {**info["config"], **_changing(names, spec, plan)}
        others = {name: value for name, value in kept.items() if name not in _IF_GIVEN}
        config["metadata"] = {**others, **config["metadata"]}  # also those that another program has added
        if config != info["config"]:
            (info,) = await demand(connection, spec.name, (f"STREAM.UPDATE.{stream}", config))
            info, plan = await _with_later(connection, names, spec, info, plan)
    # After the stream: what went past the order until now is found by the filters, and what comes now has the order.
    await demand(connection, spec.name, *(_consumer(names, spec, plan, lane) for lane in plan.lanes()))
    return info


async def make_lanes(connection: Connection, names: Names, spec: QueueSpec, wanted: Iterable[str]) -> Answer:
    """Make some of ``MADE_LATER``; returns the server's description of the stream."""
    stream = names.stream(spec.name)
    (info,) = await demand(connection, spec.name, (f"STREAM.INFO.{stream}", {}))
    kept = info["config"].get("metadata") or {}
    plan = plan_in(kept)
    plan = replace(plan, later=plan.later.union(wanted))
    # The consumers first: who changes the stream at the same time finds them, see _with_later.
    lanes = [lane for lane in plan.lanes() if lane.name in wanted]
    await demand(connection, spec.name, *(_consumer(names, spec, plan, lane) for lane in lanes))
    if plan != plan_in(kept):
        config = {**info["config"], "metadata": {**kept, **plan.metadata()}}
        (info,) = await demand(connection, spec.name, (f"STREAM.UPDATE.{stream}", config))
    return info


async def _with_later(
    connection: Connection, names: Names, spec: QueueSpec, info: Answer, plan: Plan
) -> tuple[Answer, Plan]:
    """The stream and the plan after an update, which may have overwritten that another process made a lane."""
    absent = [name for name in MADE_LATER if name not in plan.later]
    if not absent:
        return info, plan
    reached = await delivered_up_to(connection, spec.name, names.stream(spec.name), absent)
    made = [name for name in absent if reached[name] is not None]
    if not made:
        return info, plan
    return await make_lanes(connection, names, spec, made), replace(plan, later=plan.later.union(made))


async def delivered_up_to(
    connection: Connection, queue: str, stream: str, lanes: Iterable[str]
) -> dict[str, int | None]:
    """The last sequence that each lane's consumer has delivered; None where there is no consumer.

    Waits for one that is there and has no leader just now.
    """
    asked = sorted(lanes)
    requests: list[Request] = [(f"CONSUMER.INFO.{stream}.{lane}", {}) for lane in asked]
    answers = await demand(connection, queue, *requests, unless=is_missing)
    return {
        lane: None if "error" in answer else int(answer["delivered"]["stream_seq"])
        for lane, answer in zip(asked, answers, strict=True)
    }


def spec_in(info: Answer, given: QueueSpec) -> QueueSpec:
    """The options in force of a queue whose stream is there; what the stream does not tell is as it was given."""
    config = info["config"]
    kept: Mapping[str, str] = config.get("metadata") or {}
    plan = plan_in(kept)
    length = int(config.get("max_msgs", -1))
    return replace(
        given,
        lease=_seconds(kept.get(_LEASE)) or given.lease,
        max_length=length if length > 0 else None,
        ordering="key" if plan.ordered else "none",
        dedup_window=_seconds(kept.get(_DEDUP_WINDOW)),
        priorities=plan.priorities,
        temporary=is_temporary(kept),
        options={**given.options, **_options_in(config, plan, given)},
    )


def _options_in(config: Mapping[str, Any], plan: Plan, given: QueueSpec) -> dict[str, Any]:
    """The options that the stream has, and those that were given."""
    size, age = int(config.get("max_bytes", -1)), int(config.get("max_age", 0))
    there = {
        "max_bytes": size if size > 0 else None,
        "message_ttl": age / SECOND if age else None,
    }
    found = {name: value for name, value in there.items() if value is not None or given.options.get(name) is not None}
    kept = {
        "storage": str(config.get("storage")),
        "replicas": int(config.get("num_replicas", 1)),
        "partitions": plan.partitions or None,
    }
    return {**found, **{name: value for name, value in kept.items() if given.options.get(name) is not None}}


def _seconds(text: str | None) -> float | None:
    try:
        return float(text) if text else None
    except ValueError:
        return None


def is_temporary(metadata: Mapping[str, str] | None) -> bool:
    """Whether a stream belongs to a temporary queue."""
    return (metadata or {}).get(_TEMPORARY) == "true"


def epoch_of(info: Answer) -> str:
    """A text that differs for a stream that was removed and made again."""
    return "".join(sign for sign in str(info.get("created", "")) if sign.isdigit()) or "0"


def stream_config(names: Names, spec: QueueSpec, plan: Plan, storage: Storage) -> dict[str, Any]:
    """The configuration of a new stream."""
    return {
        "name": names.stream(spec.name),
        "retention": "workqueue",
        "discard": "new",
        "max_consumers": -1,
        "storage": spec.options.get("storage") or storage.kind,
        "num_replicas": storage.replicas,
        **_changing(names, spec, plan),
    }


def _changing(names: Names, spec: QueueSpec, plan: Plan) -> dict[str, Any]:
    """What a declaration may change."""
    subjects = [] if plan.ordered else [names.subject(spec.name, ">")]
    if plan.partitions:
        subjects.append(names.subject(spec.name, ">", ordered=True))
    metadata = {**plan.metadata(), _LEASE: repr(spec.lease)}
    if spec.temporary:
        metadata[_TEMPORARY] = "true"
    changing: dict[str, Any] = {"subjects": subjects, "max_msgs": spec.max_length or -1, "metadata": metadata}
    age = int((spec.options.get("message_ttl") or 0) * SECOND)
    changing |= {"max_bytes": spec.options.get("max_bytes") or -1, "max_age": age}
    if age:
        changing["duplicate_window"] = min(age, _DUPLICATE_WINDOW)
    if replicas := spec.options.get("replicas"):
        changing["num_replicas"] = replicas
    if spec.dedup_window is not None:
        metadata[_DEDUP_WINDOW] = repr(spec.dedup_window)
        changing["duplicate_window"] = max(int(spec.dedup_window * SECOND), SECOND // 10)
    return changing


def _consumer(names: Names, spec: QueueSpec, plan: Plan, lane: Lane) -> Request:
    subject = names.filter(spec.name, lane.tail, ever_ordered=plan.ever_ordered)
    stream = names.stream(spec.name)
    config: Mapping[str, Any] = {
        "durable_name": lane.name,
        "name": lane.name,
        "filter_subject": subject,
        "deliver_policy": "all",
        "ack_policy": "explicit",
        "ack_wait": int(min(spec.lease, SILENCE) * SECOND),
        "max_deliver": -1,
        "max_ack_pending": 1 if lane.one_at_a_time else -1,
        "max_waiting": MOST_PULLS,
    }
    return f"CONSUMER.CREATE.{stream}.{lane.name}.{subject}", {"stream_name": stream, "config": config, "action": ""}


async def _changed_plan(connection: Connection, names: Names, spec: QueueSpec, old: Plan, new: Plan) -> Plan:
    """The lanes of an existing queue under a new declaration."""
    driver = connection.address.driver
    if new.ordered and old.partitions and new.partitions != old.partitions:
        problem = (
            f"queue {spec.name!r} has {old.partitions} partitions, not {new.partitions}; delete the queue to change it"
        )
        raise QueueConflictError(problem, driver=driver, queue=spec.name)
    if new.ordered and not old.ordered:
        stream = names.stream(spec.name)
        # With its first order the subjects of all keys become others, see Publishing._subject.
        changed = {DELAYED} if old.ever_ordered else {DELAYED, UNIQUE}
        lanes = [PLAIN, *sorted(old.later & changed)]
        infos = await ask(connection, spec.name, [(f"CONSUMER.INFO.{stream}.{lane}", {}) for lane in lanes])
        if any(info.get("num_pending", 0) + info.get("num_ack_pending", 0) for info in infos):
            problem = (
                f"queue {spec.name!r} holds messages that were published without order per key: let them be consumed, "
                "or purge them, before it is declared with ordering: key"
            )
            raise QueueConflictError(problem, driver=driver, queue=spec.name)
    return merged(old, new)


def _check_storage(connection: Connection, spec: QueueSpec, config: Mapping[str, Any]) -> None:
    """A stream cannot move from one storage to the other. Raises QueueConflictError."""
    wanted = spec.options.get("storage")
    if wanted is not None and wanted != config["storage"]:
        problem = (
            f"queue {spec.name!r} has its messages in {config['storage']}, not in {wanted}; delete it to change that"
        )
        raise QueueConflictError(problem, driver=connection.address.driver, queue=spec.name)


LAYOUT = 1

_IF_NONE = b"NATS/1.0\r\nNats-Expected-Last-Subject-Sequence: 0\r\n\r\n"


async def check_layout(connection: Connection, names: Names) -> bool:
    """Whether the layout of the streams is recorded; changes nothing.

    Raises:
        DriverError: it is another one, or the record is not Tasuki's.
        BrokerUnavailableError, BrokerTimeoutError: the server does not answer.
    """
    driver = connection.address.driver
    stream = SubjectStream(names.records_stream)
    (answer,) = await stream.demand(connection, stream.last(names.layout), unless=is_stream_or_message_missing)
    if "error" in answer:
        return False
    try:
        found = json.loads(data_of(answer["message"])).get("layout")
    except (ValueError, AttributeError) as error:
        problem = (
            f"stream {names.records_stream!r}: message {answer['message']['seq']} on subject {names.layout!r} is no "
            "record of a layout; remove that message if another program has written it"
        )
        raise DriverError(problem, driver=driver) from error
    require(found, LAYOUT, place=f"NATS prefix {names.prefix!r}", instead="stream_prefix", driver=driver)
    return True


async def record_layout(connection: Connection, names: Names) -> None:
    """Record the layout, unless it is; the stream must be there. Raises as ``check_layout`` does."""
    while not await check_layout(connection, names):
        content = json.dumps({"layout": LAYOUT}).encode()
        (answer,) = await store(connection, "", [(names.layout, content)], [_IF_NONE])
        if not (error := answer.get("error")):
            return
        if not is_wrong_sequence(error):  # else another process was faster
            raise refusal(error, driver=connection.address.driver, queue="")
