"""Fields of drivers, and driver options of queues and consumers.

Made by scripts/typed.py from the models of the same names; docs/reference.md says what each field means.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypedDict

from tasuki.units import Duration, Size

if TYPE_CHECKING:
    from tasuki.fields.types import DurabilityLevel


class BackoffFields(TypedDict, total=False):
    initial_delay: Duration
    max_delay: Duration
    backoff_factor: float
    jitter: float


class RestartFields(BackoffFields, total=False):
    max_attempts: int


class LifecycleFields(TypedDict, total=False):
    auto_start: bool
    start_timeout: Duration
    stop_timeout: Duration
    stable_threshold: Duration
    depends_on: list[str]
    requires: list[str]
    startup: Literal["required", "optional"]
    restart: RestartFields


class DriverFields(TypedDict, total=False):
    durability: DurabilityLevel | None
    state: str | None
    lifecycle: LifecycleFields


class LengthFields(TypedDict, total=False):
    max_length: int | None


class SQLiteDriverFields(DriverFields, total=False):
    path: str
    synchronous: Literal["full", "normal"]
    busy_timeout: Duration


class TlsFields(TypedDict, total=False):
    enabled: bool
    server_name: str | None
    cert: str | None
    key: str | None
    ca: str | None
    cert_env: str | None
    key_env: str | None
    ca_env: str | None
    insecure_skip_verify: bool


class AMQPDriverFields(DriverFields, total=False):
    url: str
    vhost: str | None
    connection_name: str | None
    auth_mechanism: Literal["PLAIN", "EXTERNAL", "AMQPLAIN"]
    heartbeat: Duration
    connection_timeout: Duration
    request_timeout: Duration
    reconnect_delay: Duration
    reconnect_max_delay: Duration
    default_message_ttl: Duration | None
    default_queue_ttl: Duration | None
    default_queue_expiry: Duration | None
    prefetch_count: int
    frame_size: Size
    channel_max: int
    tls: TlsFields | None


class AMQPQueueFields(TypedDict, total=False):
    queue_type: Literal["quorum", "classic"]
    durable: bool
    auto_delete: bool
    exclusive: bool
    max_length: int | None
    max_length_bytes: Size | None
    message_ttl: Duration | None
    queue_expiry: Duration | None
    delivery_limit: int | None
    consumer_timeout: Duration | None
    dead_letter_exchange: str | None
    dead_letter_routing_key: str | None
    partitions: int | None
    single_active_consumer: bool


class AMQPConsumerFields(TypedDict, total=False):
    exclusive: bool
    no_local: bool
    no_wait: bool
    consumer_tag: str | None


class RedisDriverFields(DriverFields, total=False):
    url: str | None
    addrs: str | list[str] | None
    username: str | None
    password: str | None
    db: int | None
    client_name: str | None
    master_name: str | None
    sentinel_username: str | None
    sentinel_password: str | None
    is_cluster_mode: bool
    tls: TlsFields | None
    prefix: str
    claim_interval: Duration
    connect_timeout: Duration
    read_timeout: Duration


class RedisQueueFields(LengthFields, total=False):
    wait_replicas: int | None
    wait_fsync: bool | None
    expires: Duration | None


class SQSDriverFields(DriverFields, total=False):
    config: str | None
    endpoint: str | None
    message_retention_period: Duration
    default_delay_seconds: Duration
    use_fips: bool
    use_dual_stack: bool
    disable_message_checksum_validation: bool
    connect_timeout: Duration
    request_timeout: Duration


class SQSQueueFields(LengthFields, total=False):
    message_retention_period: Duration | None
    default_delay_seconds: Duration | None
    default_visibility_timeout: Duration | None


class SQSConsumerFields(TypedDict, total=False):
    wait_time: Duration | None
    visibility_timeout: Duration | None


class PostgresDriverFields(DriverFields, total=False):
    url: str
    listen_url: str | None
    schema: str
    pool_size: int
    poll_interval: Duration
    timeout: Duration
    connect_timeout: Duration
    synchronous_commit: Literal["off", "local", "remote_write", "on", "remote_apply"] | None
    tls: TlsFields | None


class PostgresQueueFields(LengthFields, total=False):
    synchronous_commit: Literal["off", "local", "remote_write", "on", "remote_apply"] | None


class NATSDriverFields(DriverFields, total=False):
    servers: str | list[str] | None
    stream_prefix: str
    user: str | None
    password: str | None
    token: str | None
    credentials_file: str | None
    nkey_seed_file: str | None
    tls: TlsFields | None
    replicas: int
    storage: Literal["file", "memory"]
    server_sync: Literal["always"] | None
    monitoring: str | None
    connection_name: str
    connect_timeout: Duration
    timeout: Duration
    inbox_prefix: str
    domain: str | None
    tls_first: bool


class NATSQueueFields(TypedDict, total=False):
    max_length: int | None
    max_bytes: Size | None
    storage: Literal["file", "memory"] | None
    replicas: int | None
    message_ttl: Duration | None
    partitions: int | None


class QueueOptions(TypedDict, total=False):
    memory: LengthFields
    sqlite: LengthFields
    amqp: AMQPQueueFields
    redis: RedisQueueFields
    sqs: SQSQueueFields
    postgres: PostgresQueueFields
    nats: NATSQueueFields


class ConsumerOptions(TypedDict, total=False):
    amqp: AMQPConsumerFields
    sqs: SQSConsumerFields


AnyQueueOptions = (
    LengthFields | AMQPQueueFields | RedisQueueFields | SQSQueueFields | PostgresQueueFields | NATSQueueFields
)

AnyConsumerOptions = AMQPConsumerFields | SQSConsumerFields
