"""Fields of entries other than drivers.

Made by scripts/typed.py from the models of the same names; docs/reference.md says what each field means.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Required, TypedDict

from tasuki.drivers.typed import (
    AnyConsumerOptions,
    AnyQueueOptions,
    BackoffFields,
    ConsumerOptions,
    LifecycleFields,
    QueueOptions,
)
from tasuki.units import Duration, Size

if TYPE_CHECKING:
    from tasuki.app.handle import QueueHandle
    from tasuki.contracts.context import Retries
    from tasuki.fields.types import DurabilityLevel
    from tasuki.kinds.entries.queue import RequirementName


class CompressFields(TypedDict, total=False):
    method: Required[Literal["gzip", "zstd"]]
    above: Size


class DeadLetterFields(TypedDict, total=False):
    queue: Required[str | QueueHandle[Any]]
    max_attempts: int


class RetryFields(BackoffFields, total=False):
    never: list[str]
    on: list[str]
    max_attempts: int | None


UniqueFields = TypedDict(
    "UniqueFields",
    {
        "key": Required[str],
        "for": Literal["pending", "running"] | Duration,
        "on_conflict": Literal["keep", "replace", "extend"],
        "max": Duration | None,
    },
    total=False,
)


class LimitFields(TypedDict, total=False):
    rate: float | str | None
    burst: int | None
    concurrency: int | None
    key: str | None


class FairFields(TypedDict, total=False):
    key: Required[str]
    share: int


class ResultFields(TypedDict, total=False):
    ttl: Duration
    max_size: Size


class KeyFields(TypedDict, total=False):
    id: Required[str]
    secret: Required[str]


class SigningFields(TypedDict, total=False):
    keys: Required[list[KeyFields]]
    required: bool


class QueueFields(TypedDict, total=False):
    driver: str
    options: AnyQueueOptions
    driver_options: QueueOptions | AnyQueueOptions
    queue_name: str
    codec: str
    compress: Literal["gzip", "zstd"] | CompressFields | None
    dead_letter: str | QueueHandle[Any] | DeadLetterFields | None
    retry: RetryFields | Retries | None
    max_length: int | None
    overflow: Literal["block", "reject"]
    message_ttl: Duration | None
    on_expire: Literal["dead_letter", "drop"]
    max_message_size: Size
    durability: DurabilityLevel | None
    lease: Duration
    ordering: Literal["none", "key"]
    dedup_window: Duration | None
    unique: str | UniqueFields | None
    limit: str | float | LimitFields | list[str | float | LimitFields] | None
    fair: str | FairFields | None
    state: str | None
    cancel: Literal["watched", "strict"]
    result: str | ResultFields | None
    requires: list[RequirementName]
    middleware: list[str]
    signing: SigningFields | None


class IdempotencyFields(TypedDict, total=False):
    key: str
    ttl: Duration


class TaskFields(TypedDict, total=False):
    func: Required[str]
    retry: RetryFields | None
    handler_timeout: Duration | None
    idempotency: str | IdempotencyFields | None
    on_give_up: str | None


class BatchFields(TypedDict, total=False):
    size: Required[int]
    wait: Duration


class ActorFields(TypedDict, total=False):
    id: Required[str]
    meta: dict[str, Any]


class IdentityFields(TypedDict, total=False):
    actor: Required[ActorFields]
    groups: list[str]
    policies: list[str]


class ConsumerLifecycleFields(LifecycleFields, total=False):
    security: IdentityFields | None


class ConsumerFields(TypedDict, total=False):
    concurrency: int
    prefetch: int
    batch: BatchFields | None
    auto_ack: bool
    handler_timeout: Duration | None
    retry: RetryFields | Retries | None
    idempotency: str | IdempotencyFields | None
    middleware: list[str]
    driver_options: ConsumerOptions | AnyConsumerOptions
    lifecycle: ConsumerLifecycleFields


class ConsumerEntryFields(ConsumerFields, total=False):
    queue: Required[str]
    func: str | None
    funcs: dict[str, str | TaskFields]


class WorkerFields(TypedDict, total=False):
    concurrency: Required[int]
    order: Literal["fair", "weighted", "strict"]
    weights: dict[str, int]


class WorkerEntryFields(WorkerFields, total=False):
    queues: Required[list[str]]


class HealthFields(TypedDict, total=False):
    broker_red_after: Duration | None


class ScheduleFields(TypedDict, total=False):
    cron: str | None
    every: Duration | None
    timezone: str
    body: Any
    headers: dict[str, str | int | float | bool]
    task: str | None
    catch_up: Literal["skip", "one", "all"]
    overlap: Literal["allow", "skip"]
    jitter: Duration
    enabled: bool


class ScheduleEntryFields(ScheduleFields, total=False):
    queue: Required[str]


class LuaLibraryFields(TypedDict, total=False):
    source: Required[str]
    modules: list[str]
    imports: dict[str, str]


class LuaLimitsFields(TypedDict, total=False):
    memory: Size
    time: Duration
    instructions: int | None


class PoolFields(TypedDict, total=False):
    workers: Required[int]
    max_messages: int | None
    max_memory: Size | None
    max_age: Duration | None


class LuaFunctionFields(LuaLibraryFields, total=False):
    method: str | None
    limits: LuaLimitsFields
    isolation: Literal["shared", "process"]
    pool: PoolFields | None


class PythonCodeFields(TypedDict, total=False):
    source: str | None
    method: str | None
    target: str | None


class PythonLimitsFields(TypedDict, total=False):
    memory: Size | None
    time: Duration | None


class PythonFunctionFields(PythonCodeFields, total=False):
    isolation: Literal["shared", "process"]
    limits: PythonLimitsFields | None
    pool: PoolFields | None


class ProviderFields(PythonCodeFields, total=False):
    scope: Literal["process", "message"]


class HookFields(PythonCodeFields, total=False):
    moment: Required[Literal["start", "stop", "publish", "begin", "done", "failed", "give_up", "discard"]]
    queue: str | None
    task: str | None


class MemoryStoreFields(TypedDict, total=False):
    max_size: int
    max_bytes: Size
    cleanup_interval: Duration
    lifecycle: LifecycleFields


class DriverStoreFields(TypedDict, total=False):
    driver: Required[str]
    store_name: str | None
    lifecycle: LifecycleFields


class EnvVariableFields(TypedDict, total=False):
    variable: str | None
    default: str | None
    storage: str | None
    readonly: bool
    read_only: bool


class EnvMemoryFields(TypedDict, total=False):
    lifecycle: LifecycleFields


class EnvStaticFields(EnvMemoryFields, total=False):
    values: Required[dict[str, str]]


class EnvRouterFields(EnvMemoryFields, total=False):
    storages: Required[list[str]]


class EnvFileFields(EnvMemoryFields, total=False):
    file_path: Required[str]
    auto_create: bool
    file_mode: str
    dir_mode: str


class AwsFields(TypedDict, total=False):
    region: str | None
    access_key_id: str | None
    secret_access_key: str | None
    session_token: str | None
    profile: str | None
    region_env: str | None
    access_key_id_env: str | None
    secret_access_key_env: str | None


class ConditionFields(TypedDict, total=False):
    field: Required[str]
    operator: Required[str]
    value: Any
    value_from: str | None


class PolicyDefinitionFields(TypedDict, total=False):
    actions: Required[str | list[str]]
    resources: Required[str | list[str]]
    effect: Required[Literal["allow", "deny"]]
    conditions: list[ConditionFields]


class PolicyFields(TypedDict, total=False):
    groups: list[str]
    policy: Required[PolicyDefinitionFields]


class ExpressionDefinitionFields(TypedDict, total=False):
    actions: Required[str | list[str]]
    resources: Required[str | list[str]]
    effect: Required[Literal["allow", "deny"]]
    expression: Required[str]


class ExpressionPolicyFields(TypedDict, total=False):
    groups: list[str]
    policy: Required[ExpressionDefinitionFields]


class SecurityFields(TypedDict, total=False):
    strict: bool
    application: IdentityFields | None


class MetricsFields(TypedDict, total=False):
    opentelemetry: bool


class TracesFields(TypedDict, total=False):
    sample: float
    attach: bool
    create: bool
    receive: bool
    baggage: bool
    body_size: bool
    process: Literal["child", "link"]
