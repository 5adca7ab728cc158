"""``app.entry``: declare an entry of any kind, with the fields that type checkers know."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal, overload

if TYPE_CHECKING:
    from typing import Unpack

    from tasuki.app.declare import Declarations
    from tasuki.app.typed import entries as e
    from tasuki.drivers import DriverEntry
    from tasuki.drivers import typed as d


class EntryDeclarer:
    """Declares entries; see its call."""

    def __init__(self, declared: Declarations) -> None:
        self._declared = declared

    @overload
    def __call__(self, name: str, kind: Literal["queue.driver.memory"], /, **fields: Unpack[d.DriverFields]) -> str: ...
    @overload
    def __call__(
        self, name: str, kind: Literal["queue.driver.sqlite"], /, **fields: Unpack[d.SQLiteDriverFields]
    ) -> str: ...
    @overload
    def __call__(
        self, name: str, kind: Literal["queue.driver.amqp"], /, **fields: Unpack[d.AMQPDriverFields]
    ) -> str: ...
    @overload
    def __call__(
        self, name: str, kind: Literal["queue.driver.redis"], /, **fields: Unpack[d.RedisDriverFields]
    ) -> str: ...
    @overload
    def __call__(self, name: str, kind: Literal["queue.driver.sqs"], /, **fields: Unpack[d.SQSDriverFields]) -> str: ...
    @overload
    def __call__(
        self, name: str, kind: Literal["queue.driver.postgres"], /, **fields: Unpack[d.PostgresDriverFields]
    ) -> str: ...
    @overload
    def __call__(
        self, name: str, kind: Literal["queue.driver.nats"], /, **fields: Unpack[d.NATSDriverFields]
    ) -> str: ...
    @overload
    def __call__(self, name: str, kind: Literal["queue.queue"], /, **fields: Unpack[e.QueueFields]) -> str: ...
    @overload
    def __call__(
        self, name: str, kind: Literal["queue.consumer"], /, **fields: Unpack[e.ConsumerEntryFields]
    ) -> str: ...
    @overload
    def __call__(
        self, name: str, kind: Literal["queue.schedule"], /, **fields: Unpack[e.ScheduleEntryFields]
    ) -> str: ...
    @overload
    def __call__(self, name: str, kind: Literal["function.lua"], /, **fields: Unpack[e.LuaFunctionFields]) -> str: ...
    @overload
    def __call__(self, name: str, kind: Literal["queue.worker"], /, **fields: Unpack[e.WorkerEntryFields]) -> str: ...

    @overload
    def __call__(
        self, name: str, kind: Literal["function.python"], /, **fields: Unpack[e.PythonFunctionFields]
    ) -> str: ...
    @overload
    def __call__(
        self, name: str, kind: Literal["middleware.python"], /, **fields: Unpack[e.PythonCodeFields]
    ) -> str: ...
    @overload
    def __call__(self, name: str, kind: Literal["provider.python"], /, **fields: Unpack[e.ProviderFields]) -> str: ...
    @overload
    def __call__(self, name: str, kind: Literal["hook.python"], /, **fields: Unpack[e.HookFields]) -> str: ...
    @overload
    def __call__(self, name: str, kind: Literal["library.lua"], /, **fields: Unpack[e.LuaLibraryFields]) -> str: ...
    @overload
    def __call__(self, name: str, kind: Literal["store.memory"], /, **fields: Unpack[e.MemoryStoreFields]) -> str: ...
    @overload
    def __call__(self, name: str, kind: Literal["store.sqlite"], /, **fields: Unpack[e.DriverStoreFields]) -> str: ...
    @overload
    def __call__(self, name: str, kind: Literal["store.postgres"], /, **fields: Unpack[e.DriverStoreFields]) -> str: ...
    @overload
    def __call__(self, name: str, kind: Literal["store.redis"], /, **fields: Unpack[e.DriverStoreFields]) -> str: ...
    @overload
    def __call__(self, name: str, kind: Literal["store.nats"], /, **fields: Unpack[e.DriverStoreFields]) -> str: ...
    @overload
    def __call__(self, name: str, kind: Literal["env.variable"], /, **fields: Unpack[e.EnvVariableFields]) -> str: ...
    @overload
    def __call__(
        self, name: str, kind: Literal["env.storage.memory"], /, **fields: Unpack[e.EnvMemoryFields]
    ) -> str: ...
    @overload
    def __call__(self, name: str, kind: Literal["env.storage.os"], /, **fields: Unpack[e.EnvMemoryFields]) -> str: ...
    @overload
    def __call__(
        self, name: str, kind: Literal["env.storage.static"], /, **fields: Unpack[e.EnvStaticFields]
    ) -> str: ...
    @overload
    def __call__(
        self, name: str, kind: Literal["env.storage.router"], /, **fields: Unpack[e.EnvRouterFields]
    ) -> str: ...
    @overload
    def __call__(self, name: str, kind: Literal["env.storage.file"], /, **fields: Unpack[e.EnvFileFields]) -> str: ...
    @overload
    def __call__(self, name: str, kind: Literal["config.aws"], /, **fields: Unpack[e.AwsFields]) -> str: ...
    @overload
    def __call__(self, name: str, kind: Literal["security.policy"], /, **fields: Unpack[e.PolicyFields]) -> str: ...
    @overload
    def __call__(
        self, name: str, kind: Literal["security.policy.expr"], /, **fields: Unpack[e.ExpressionPolicyFields]
    ) -> str: ...
    @overload
    def __call__(self, name: str, kind: Literal["traces.config"], /, **fields: Unpack[e.TracesFields]) -> str: ...
    @overload
    def __call__(self, name: str, kind: Literal["security.config"], /, **fields: Unpack[e.SecurityFields]) -> str: ...
    @overload
    def __call__(self, name: str, kind: Literal["metrics.config"], /, **fields: Unpack[e.MetricsFields]) -> str: ...
    @overload
    def __call__(self, name: str, kind: Literal["health.config"], /, **fields: Unpack[e.HealthFields]) -> str: ...
    @overload
    def __call__(self, name: str, kind: str, fields: Mapping[str, object], /) -> str: ...
    @overload
    def __call__(self, name: str, driver: DriverEntry, /) -> str: ...
    def __call__(
        self, name: str, kind: str | DriverEntry, fields: Mapping[str, object] | None = None, /, **more: object
    ) -> str:
        """Declare an entry of any kind, such as ``store.memory``; returns its id.

        Give the fields of built-in kinds by name, where type checkers know them, and the fields of another package's
        kind as a mapping. A driver may be one of :mod:`tasuki.drivers`.
        """
        if not isinstance(kind, str):
            return self._declared.add_driver(name, kind).id
        return self._declared.add(name, kind, {**(fields or {}), **more}).id
