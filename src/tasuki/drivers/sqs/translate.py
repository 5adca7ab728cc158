"""What the client raises, and the codes that SQS answers with → driver errors; nothing secret gets into a message."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tasuki.drivers.toolkit.address import shown
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
