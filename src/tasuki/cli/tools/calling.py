"""Calling functions of a project by hand: for ``call`` and ``test``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tasuki.cli.exits import CommandError
from tasuki.cli.project import find_id, place_of
from tasuki.contracts.handler import Reject, Retry, Snooze
from tasuki.errors import HandlerError, TasukiError

if TYPE_CHECKING:
    from tasuki.app import App
    from tasuki.kinds.check.project import Project

_SIGNALS = ((Retry, "requests another attempt"), (Reject, "rejects the call"), (Snooze, "postpones the call"))


def functions(project: Project) -> list[str]:
    """Ids of all functions, in the order of declaration."""
    from tasuki.kinds.build import is_function

    return [id for id, config in project.configs.items() if is_function(config)]


def find_function(project: Project, name: str) -> str:
    """The full id of a function. Raises CommandError."""
    return find_id(name, functions(project), "function")


async def call(app: App, function: str, args: Sequence[Any] = ()) -> Any:
    """Call it; its result.

    Raises:
        TasukiError: it failed, in whatever way; the message has the place in the user's code.
    """
    try:
        return await app.call(function, *args)
    except HandlerError as error:
        raise CommandError(f"{function} failed: {error.traceback or error}") from error
    except TasukiError:
        raise
    except (Retry, Reject, Snooze) as signal:
        verdict = next(text for kind, text in _SIGNALS if isinstance(signal, kind))
        raise CommandError(f"{function} {verdict}: {signal.reason or 'no reason given'}") from signal
    except Exception as error:
        raise CommandError(f"{function} raised {place_of(error)}") from error
