"""``queue.driver.sqs``."""

from __future__ import annotations

import math
from collections.abc import Hashable
from pathlib import Path
from typing import Annotated, Any, TypeVar
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, PlainValidator, model_validator
from pydantic_core.core_schema import ValidationInfo

from tasuki.drivers.sqs.aws import AwsConfig
from tasuki.fields.types import (
    DRIVER_PREFIX,
    Config,
    Count,
    DriverKind,
    Duration,
    Flag,
    LengthOptions,
    NotHonored,
    PositiveDuration,
    Text,
    at_field,
    full_id,
)
from tasuki.units import format_duration

_AMAZON = (".amazonaws.com", ".amazonaws.com.cn", ".api.aws")


def _address(value: str) -> str:
    if not value.startswith(("http://", "https://", "${env:")):
        raise ValueError("expected an address, such as http://localhost:4566")
    return value


def _account(value: object, info: ValidationInfo) -> str | AwsConfig:
    if isinstance(value, AwsConfig):
        return value
    if not isinstance(value, str) or not value:
        raise ValueError(
            "expected the id of a config.aws entry; its fields (region, access_key_id …) belong into that entry, "
            "the fields of the driver (endpoint …) beside config"
        )
    return full_id(value, info)


Account = Annotated[str | AwsConfig, PlainValidator(_account, json_schema_input_type=Text)]
"""The id of a ``config.aws`` entry; a driver gets the entry itself."""


def _retention(value: float) -> float:
    if not 60 <= value <= 14 * 86_400:
        raise ValueError("SQS keeps messages for 1m to 14d")
    return value


C = TypeVar("C", "SQSSettings", "SQSQueueOptions")


def _messages_outlive_the_delay(config: C) -> C:
    """Else SQS would delete each message before it is due."""
    kept, delay = config.message_retention_period, config.default_delay_seconds
    if kept is not None and delay is not None and delay >= kept:
        raise at_field("default_delay_seconds", "default_delay_seconds is not shorter than message_retention_period")
    return config


class SQSSettings(Config):
    """Queues at Amazon SQS, or at a server that speaks its protocol: durable, nothing to run, paid by request."""

    config: Account | None = None
    """The config.aws entry with region and keys; missing fields are looked up as AWS's own tools do."""
    endpoint: Annotated[Text, AfterValidator(_address)] | None = None
    """Address of the server; default: the region's."""
    message_retention_period: Annotated[Duration, AfterValidator(_retention)] = 345_600.0
    """How long SQS keeps a message in a queue that is made here; between a minute and 14 days."""
    default_delay_seconds: Annotated[Duration, Field(le=900)] = 0.0
    """Delay of messages without one, in a queue that is made here; at most 15 minutes."""
    use_fips: Flag = False
    """Use AWS's addresses with FIPS-validated cryptography."""
    use_dual_stack: Flag = False
    """Use AWS's addresses for IPv4 and IPv6."""
    disable_message_checksum_validation: Flag = False
    """Do not compare the MD5 of bodies that are sent and received."""
    connect_timeout: PositiveDuration = 5.0
    """Time within which a connection must be made."""
    request_timeout: PositiveDuration = 10.0
    """Time within which SQS must answer; the wait of a long poll comes on top."""

    _check_delay = model_validator(mode="after")(_messages_outlive_the_delay)


class SQSQueueOptions(LengthOptions):
    """Options of a queue at SQS: its attributes there. On an existing queue, only given options are changed."""

    max_length: Count | None = None
    """Refused: SQS cannot bound a queue."""
    message_retention_period: Annotated[Duration, AfterValidator(_retention)] | None = None
    """Time after which SQS silently deletes a message; default: the driver's."""
    default_delay_seconds: Annotated[Duration, Field(le=900)] | None = None
    """Delay of messages published without one; default: the driver's."""
    default_visibility_timeout: Annotated[Duration, Field(le=43_200)] | None = None
    """How long a message that another program receives is hidden; Tasuki passes the lease with each receive."""

    _check_delay = model_validator(mode="after")(_messages_outlive_the_delay)


class SQSConsumerOptions(Config):
    """Options of a consumer at SQS, from Wippy's format. This driver honors none: check warns, with the reason."""

    wait_time: Annotated[
        Duration | None,
        NotHonored("the driver polls for 2s at a time, so that a stop waits no longer, and polls again at once"),
        Field(le=20),
    ] = None
    """Not honored: the driver polls for 2s at a time and polls again at once, so that a stop waits no longer."""
    visibility_timeout: Annotated[
        Duration | None,
        NotHonored("each receive asks for the queue's lease, and the consumer renews it; set lease at the queue"),
        Field(le=43_200),
    ] = None
    """Not honored: each receive requests the queue's lease, and the consumer renews it."""


def is_amazon(settings: SQSSettings) -> bool:
    """Whether this is Amazon's own SQS, whose durability is known."""
    if settings.endpoint is None:
        return True
    return (urlsplit(settings.endpoint).hostname or "").endswith(_AMAZON)


def _too_long(driver: SQSSettings, queue: Any, delay: float) -> str:
    """A delayed message of a FIFO queue is hidden where it is, and its retention goes on."""
    is_fifo = queue.ordering == "key" or queue.dedup_window is not None or queue.queue_name.endswith(".fifo")
    kept_for = queue.options.get("message_retention_period") or driver.message_retention_period
    if not is_fifo or math.ceil(delay) < kept_for:
        return ""
    return (
        f"SQS deletes messages of this FIFO queue {format_duration(kept_for)} after they are sent "
        "(message_retention_period)"
    )


def _place(config: SQSSettings, _: Path) -> Hashable:
    return config.config, config.endpoint, config.use_fips, config.use_dual_stack


KIND = DriverKind(
    DRIVER_PREFIX + "sqs",
    SQSSettings,
    {"config": ("config.aws",)},
    driver="tasuki.drivers.sqs.driver:SQSDriver",
    client="aiobotocore",
    queue_options=SQSQueueOptions,
    consumer_options=SQSConsumerOptions,
    too_long=_too_long,
    place=_place,
)
