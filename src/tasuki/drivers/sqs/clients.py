"""Clients: one client for each event loop, batches of ten, and errors of SQS and its client as driver errors.

A client is made at its loop's first call: the thread that renews leases has a loop and a client of its own. No secret
gets into a message.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

from aiobotocore.config import AioConfig
from aiobotocore.session import AioSession
from botocore.loaders import create_loader

from tasuki.clock import Clock
from tasuki.drivers.sqs.aws import AwsConfig
from tasuki.drivers.sqs.settings import SQSSettings
from tasuki.drivers.toolkit.address import shown
from tasuki.drivers.toolkit.guard import not_open
from tasuki.errors import (
    AccessDeniedError,
    BrokerTimeoutError,
    BrokerUnavailableError,
    DriverError,
    MessageTooLargeError,
    Outcome,
    QueueConflictError,
    QueueNotFoundError,
    ThrottledError,
    UnsupportedError,
)
from tasuki.fields.types import revealed

_NOT_FOUND = {"QueueDoesNotExist", "NonExistentQueue", "InvalidAddress"}
_NOT_ALLOWED = {"AccessDenied", "AccessDeniedException", "KmsAccessDenied", "NotAuthorized", "UnauthorizedOperation"}
_NOT_KNOWN = {
    "AuthFailure", "ExpiredToken", "ExpiredTokenException", "IncompleteSignature", "InvalidAccessKeyId",
    "InvalidClientTokenId", "InvalidSecurity", "InvalidSignatureException", "MissingAuthenticationToken",
    "OptInRequired", "RequestExpired", "RequestTimeTooSkewed", "SignatureDoesNotMatch", "UnrecognizedClientException",
}  # fmt: skip

_THROTTLED = {
    "KmsThrottled", "OverLimit", "PriorRequestNotComplete", "RequestLimitExceeded", "RequestThrottled",
    "RequestThrottledException", "SlowDown", "Throttled", "Throttling", "ThrottlingException",
    "TooManyRequestsException",
}  # fmt: skip

_KINDS: dict[str, type[DriverError]] = {
    **dict.fromkeys(_NOT_FOUND, QueueNotFoundError),
    **dict.fromkeys(_NOT_ALLOWED | _NOT_KNOWN, AccessDeniedError),
    **dict.fromkeys(_THROTTLED, ThrottledError),
    "BatchRequestTooLong": MessageTooLargeError,
    "MessageTooLong": MessageTooLargeError,
    "QueueNameExists": QueueConflictError,
    "QueueAlreadyExists": QueueConflictError,
    "QueueDeletedRecently": BrokerUnavailableError,
}

_STALE = {"InvalidParameterValue", "MessageNotInflight", "ReceiptHandleIsInvalid"}
_NO_CREDENTIALS = {"CredentialRetrievalError", "NoCredentialsError", "PartialCredentialsError", "ProfileNotFound"}
_NOT_CONNECTED = {"ClientConnectorError", "ConnectTimeoutError", "gaierror"}
_LONGEST_TEXT = 300


def code_of(error: BaseException | None) -> str:
    """SQS's short code of an error answer (``QueueDoesNotExist``); empty for any other exception."""
    return short(str(_answer(error).get("Error", {}).get("Code", "")))


def short(code: str) -> str:
    """Without the prefix of the old protocol."""
    return code.rpartition("#")[2].rpartition(".")[2]


def is_stale(code: str) -> bool:
    """Whether an entry was refused because its receipt handle holds no message any more."""
    return code in _STALE


def is_not_allowed(code: str) -> bool:
    """Whether the keys are right, and lack a permission."""
    return code in _NOT_ALLOWED


def translated(error: Exception, driver: str, queue: str = "") -> DriverError:
    """The driver error for what the client raised."""
    if isinstance(error, DriverError):
        return error
    if code := code_of(error):
        answer = _answer(error)
        text = str(answer.get("Error", {}).get("Message", ""))
        status = answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        return answered(code, text, driver, queue, is_server_fault=status >= 500)
    name = type(error).__name__
    if name in _NO_CREDENTIALS:
        problem = f"driver {driver!r} has no credentials ({name}); name a config.aws entry, or set AWS's own variables"
        return AccessDeniedError(problem, driver=driver, queue=queue)
    if name == "NoRegionError":
        return UnsupportedError(f"driver {driver!r} has no region; give one in its config.aws entry", driver=driver)
    if isinstance(error, TimeoutError) or name == "ReadTimeoutError":
        return BrokerTimeoutError(f"SQS did not answer driver {driver!r} in time", driver=driver, queue=queue)
    outcome: Outcome = "rejected" if _never_connected(error) else "unknown"
    endpoint = getattr(error, "kwargs", {}).get("endpoint_url")
    problem = f"driver {driver!r} cannot reach SQS{f' at {shown(endpoint)}' if endpoint else ''} ({name})"
    return BrokerUnavailableError(problem, driver=driver, queue=queue, outcome=outcome)


def _never_connected(error: BaseException) -> bool:
    """Whether nothing can have been sent; the client calls a connection that was reset later by the same name."""
    inner = getattr(error, "kwargs", {}).get("error")
    names = {kind.__name__ for reason in (error, inner) for kind in type(reason).__mro__}
    return bool(names & _NOT_CONNECTED)


def answered(code: str, text: str, driver: str, queue: str, *, is_server_fault: bool = False) -> DriverError:
    """The driver error for an error that SQS answered, for a request or for one entry of a batch."""
    if code in _NOT_KNOWN:  # without its text: it may repeat the signed request
        problem = f"SQS does not accept what driver {driver!r} signs ({code}); check its keys and this machine's clock"
        return AccessDeniedError(problem, driver=driver, queue=queue)
    problem = f"SQS answers driver {driver!r} with {code}: {text[:_LONGEST_TEXT]}"
    if code == "InvalidParameterValue" and "shorter than" in text:
        return MessageTooLargeError(problem, driver=driver, queue=queue)
    kind = _KINDS.get(code, DriverError)
    if kind is DriverError and is_server_fault:
        return BrokerUnavailableError(problem, driver=driver, queue=queue, outcome="unknown")
    return kind(problem, driver=driver, queue=queue)


def _answer(error: BaseException | None) -> Mapping[str, Any]:
    answer = getattr(error, "response", None)
    return answer if isinstance(answer, Mapping) else {}


_MOST_CONNECTIONS = 1000
"""Each receive that waits has one to itself; they must not keep publishers and settlers out."""
_CLOSE_TIMEOUT = 2.0
_COMPARED_EVERY = 60.0
"""Seconds between two comparisons of our clock with the one of SQS."""
_ROUNDED = 2.0
"""Seconds by which they may differ as an answer takes its time, and its date is rounded."""


class _Entry:
    """The client of one loop, kept by a generator that closes it: the end of a loop finishes its generators."""

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.keeper: AsyncGenerator[Any, None] | None = None
        self.client: Any = None


class Clients:
    """Calls SQS on whatever loop is running; what leaves ``call`` is a DriverError or a cancellation."""

    def __init__(self, driver: str, settings: SQSSettings, clock: Clock) -> None:
        self._driver = driver
        self._settings = settings
        self._clock = clock
        self._skew = 0.0
        """Seconds that the clock of SQS is ahead of ours, if that is much; it may be negative."""
        self._compared_at = -_COMPARED_EVERY
        self._entries: dict[asyncio.AbstractEventLoop, _Entry] = {}
        self._is_closed = False

    async def connect(self) -> None:
        """Make the client of this loop."""
        try:
            await self._client()
        except DriverError:
            raise
        except Exception as error:
            raise translated(error, self._driver) from error

    async def call(self, operation: str, queue: str = "", *, wait: float = 0.0, **parameters: Any) -> dict[str, Any]:
        """One request, within the deadline; ``wait``: seconds that SQS is asked to wait."""
        try:
            async with asyncio.timeout(self._settings.request_timeout + wait):
                client = await self._client()
                answer: dict[str, Any] = await getattr(client, operation)(**parameters)
        except DriverError:
            raise
        except Exception as error:
            raise translated(error, self._driver, queue) from error
        self._compare(answer)
        return answer

    def time(self) -> float:
        """The time of SQS, which dates its messages, in Unix seconds: by its own word, if our clock is wrong."""
        return self._clock.time() + self._skew

    def _compare(self, answer: Mapping[str, Any]) -> None:
        """Compare our clock with the ``Date`` of an answer, now and then; it is rounded down to a second."""
        now = self._clock.monotonic()
        if now < self._compared_at + _COMPARED_EVERY:
            return
        headers = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {})
        with suppress(TypeError, ValueError):  # there is none, or it is no date
            skew = parsedate_to_datetime(headers.get("date")).timestamp() - self._clock.time()
            self._skew = skew if abs(skew) > _ROUNDED else 0.0
            self._compared_at = now

    async def close(self) -> None:
        """Close the clients of all loops."""
        self._is_closed = True
        here = asyncio.get_running_loop()
        entries, self._entries = self._entries, {}
        for loop, entry in entries.items():
            if entry.keeper is None or loop.is_closed():
                continue
            if loop is here:
                await entry.keeper.aclose()
            elif loop.is_running():
                closing = asyncio.wrap_future(asyncio.run_coroutine_threadsafe(entry.keeper.aclose(), loop))
                await asyncio.wait([closing], timeout=_CLOSE_TIMEOUT)  # a loop that ends meanwhile closes it itself

    async def _client(self) -> Any:
        loop = asyncio.get_running_loop()
        entry = self._entries.get(loop)
        if entry is None or entry.client is None:
            if self._is_closed:
                raise not_open(self._driver)
            for old in [old for old in self._entries if old.is_closed()]:
                self._entries.pop(old, None)
            entry = self._entries.setdefault(loop, _Entry())
            async with entry.lock:
                if entry.client is None:
                    entry.keeper = self._kept()
                    entry.client = await anext(entry.keeper)
        return entry.client

    async def _kept(self) -> AsyncGenerator[Any, None]:
        settings = self._settings
        account = settings.config if isinstance(settings.config, AwsConfig) else AwsConfig()
        config = AioConfig(
            connect_timeout=settings.connect_timeout,
            read_timeout=None,  # the deadline of the call
            max_pool_connections=_MOST_CONNECTIONS,
            retries={"total_max_attempts": 1},
            parameter_validation=False,
            use_fips_endpoint=settings.use_fips,
            use_dualstack_endpoint=settings.use_dual_stack,
        )
        session = AioSession(profile=account.profile)
        session.register_component("data_loader", _descriptions(session.get_config_variable("data_path")))
        context = session.create_client(
            "sqs",
            region_name=account.region,
            endpoint_url=settings.endpoint,
            aws_access_key_id=revealed(account.access_key_id),
            aws_secret_access_key=revealed(account.secret_access_key),
            aws_session_token=revealed(account.session_token),
            config=config,
        )
        async with context as client:
            yield client


@functools.cache
def _descriptions(path: str | None) -> Any:
    """What botocore knows of Amazon's services, read once; a session for each client would read it again."""
    return create_loader(path)


MOST_ENTRIES = 10
AT_ONCE = 10
"""Requests of one call that are under way at the same time."""

T = TypeVar("T")
Result = DriverError | None


def in_tens(items: Sequence[T], size: Callable[[T], int] | None = None, most: int = 0) -> Iterator[list[T]]:
    """In order, at most ten and at most ``most`` bytes together (one alone may be larger)."""
    part: list[T] = []
    total = 0
    for item in items:
        bytes_ = size(item) if size else 0
        if part and (len(part) == MOST_ENTRIES or (size and total + bytes_ > most)):
            yield part
            part, total = [], 0
        part.append(item)
        total += bytes_
    if part:
        yield part


def in_turns(items: Sequence[T], group: Callable[[T], str], size: Callable[[T], int], most: int) -> list[list[T]]:
    """Parts as of ``in_tens``, to be sent one after the other, with at most one item of a group in each, in order.

    SQS takes the entries of a request one by one: where one fails, a later one of its group may be stored. So the next
    one of a group goes when the one before it is stored, and what failed can be sent again without a change of order.
    """
    parts: list[list[T]] = []
    sizes: list[int] = []
    earliest: dict[str, int] = {}
    first_open = 0
    for item in items:
        name, bytes_ = group(item), size(item)
        place = max(earliest.get(name, 0), first_open)
        while place < len(parts) and (len(parts[place]) == MOST_ENTRIES or sizes[place] + bytes_ > most):
            place += 1
        if place == len(parts):
            parts.append([])
            sizes.append(0)
        parts[place].append(item)
        sizes[place] += bytes_
        earliest[name] = place + 1
        while first_open < len(parts) and len(parts[first_open]) == MOST_ENTRIES:
            first_open += 1
    return parts


async def at_once(parts: Sequence[T], work: Callable[[T], Awaitable[None]]) -> None:
    """Work on all parts, a few at the same time; the work must not raise."""
    if len(parts) == 1:
        await work(parts[0])
        return
    room = asyncio.Semaphore(AT_ONCE)

    async def one(part: T) -> None:
        async with room:
            await work(part)

    await asyncio.gather(*map(one, parts))


def results_of(answer: Mapping[str, Any], count: int, driver: str, queue: str) -> tuple[list[Result], list[str]]:
    """Results and codes of the entries of a batch, whose ids are their numbers; a code is empty where it succeeded."""
    missing = DriverError(f"SQS said nothing of one entry to driver {driver!r}", driver=driver, queue=queue)
    missing.outcome = "unknown"
    results: list[Result] = [missing] * count
    codes = ["Missing"] * count
    for entry in answer.get("Successful") or ():
        results[int(entry["Id"])], codes[int(entry["Id"])] = None, ""
    for entry in answer.get("Failed") or ():
        number, code = int(entry["Id"]), short(str(entry.get("Code", "Unknown")))
        results[number] = failure(entry, code, driver, queue)
        codes[number] = code
    return results, codes


def failure(entry: Mapping[str, Any], code: str, driver: str, queue: str) -> DriverError:
    """The error of a failed entry: SQS did not do it, so its outcome is certain."""
    is_server_fault = not entry.get("SenderFault", False)
    error = answered(code, str(entry.get("Message", "")), driver, queue, is_server_fault=is_server_fault)
    error.outcome = "rejected"
    return error
