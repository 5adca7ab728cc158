"""logger: log records of scripts. See logger.lua for the functions, their arguments and errors.

======================  ============================  =========
operation               arguments                     returns
======================  ============================  =========
``log``                 level, message, location,     nothing
                        name of the logger?, fields?
======================  ============================  =========
"""

from __future__ import annotations

import logging
import os
from typing import Any

from tasuki.contracts.handler import Context

NAME = "logger"
_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warn": logging.WARNING, "error": logging.ERROR}

_OWN = frozenset(
    {*vars(logging.makeLogRecord({})), "message", "asctime", "location", "pid", "logger_name"}
    | {"consumer", "queue", "message_id", "attempt", "trace"}
)
"""Fields that say where a record comes from: a script cannot say otherwise."""


def log(context: Context, level: str, message: str, location: str, name: str | None = None, fields: Any = None) -> None:
    """One record; the fields are its ``extra``, with location, pid and the name of a named logger.

    A field whose name a log record needs itself (``name``, ``message``, ``queue``, …) gets an underscore at its end.
    """
    number = _LEVELS[level]
    logger = context.logger
    if not logger.isEnabledFor(number):
        return
    extra: dict[str, Any] = {"location": location, "pid": os.getpid()}
    if name:
        extra["logger_name"] = name
    for key, value in (fields or {}).items():
        extra[f"{key}_" if key in _OWN else key] = value
    logger.log(number, "%s", message, extra=extra)


OPERATIONS = {"log": log}
