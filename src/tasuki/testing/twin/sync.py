"""SyncTestApp: the awaitable methods of a TestApp, for tests without an event loop."""

from __future__ import annotations

from collections.abc import Mapping
from types import UnionType
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, overload

from tasuki.testing.twin.session import refuse_loop
from tasuki.testing.twin.work import STEPS
from tasuki.units import Duration, parse_duration

if TYPE_CHECKING:
    from typing import Unpack

    from tasuki.app.handle import QueueHandle
    from tasuki.app.jobs import SyncJob
    from tasuki.app.tasks import Sender
    from tasuki.app.typed.options import Headers, Named, PublishOptions, RequestOptions
    from tasuki.message import HeaderValue
    from tasuki.testing.twin.handlers import Function
    from tasuki.testing.twin.reading.records import Drained
    from tasuki.testing.twin.session import Session

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")


class SyncTestApp:
    """The same methods, without ``await``; LifecycleError within an event loop."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def drain(self, *, steps: int = STEPS) -> Drained:
        """See :meth:`TestApp.drain`."""
        refuse_loop("t.sync.drain", "await t.drain()")
        return self._session.run(self._session.work.drain(steps))

    def advance(self, duration: Duration, *, steps: int = STEPS) -> Drained:
        """See :meth:`TestApp.advance`."""
        refuse_loop("t.sync.advance", "await t.advance(…)")
        return self._session.run(self._session.work.advance(parse_duration(duration), steps))

    def publish(
        self, queue: str | QueueHandle[T], body: T, headers: Headers = None, **options: Unpack[PublishOptions]
    ) -> SyncJob[Any]:
        """See :meth:`TestApp.publish`."""
        return self._session.app.sync.publish(queue, body, headers, **options)

    def request(
        self,
        queue: str | QueueHandle[T],
        body: T,
        headers: Headers = None,
        *,
        returns: type[Named] | UnionType | None = None,
        **options: Unpack[RequestOptions],
    ) -> Named:
        """See :meth:`TestApp.request`."""
        return self._session.app.sync.request(queue, body, headers, returns=returns, **options)

    @overload
    def run(self, task: Sender[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R: ...
    @overload
    def run(
        self,
        handler: str | Function,
        body: object,
        headers: Mapping[str, HeaderValue] | None = None,
        /,
        *,
        attempt: int = 1,
    ) -> Any: ...
    def run(self, handler: Any, /, *args: Any, **options: Any) -> Any:
        """See :meth:`TestApp.run`."""
        refuse_loop("t.sync.run", "await t.run(…)")
        return self._session.run(self._session.handle(handler, *args, **options))
