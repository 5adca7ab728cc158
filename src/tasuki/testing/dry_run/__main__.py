"""``python -m tasuki.testing.dry_run FD``: an order and answers come from stdin, events go to the descriptor."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import threading
from pathlib import Path
from typing import Any

import msgspec

from tasuki.contracts.driver import Outgoing
from tasuki.testing.dry_run.recorder import Logs, Recorder, to_descriptor

_GRACE = 30.0
"""Seconds after the longest time at which the process ends by itself, should its parent be gone."""


def main() -> None:
    """Carry out the order. Never returns: what the user's code left running ends with the process."""
    answers = os.dup(0)
    with open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    order: dict[str, Any] = msgspec.msgpack.decode(_read(answers, int.from_bytes(_read(answers, 4), "big")))
    recorder = Recorder(to_descriptor(int(sys.argv[1])))
    last = threading.Timer(order["limit"] + _GRACE, os._exit, [1])
    last.daemon = True
    last.start()
    try:
        _run(order, recorder, answers)
    except BaseException as error:
        if not isinstance(error, Exception | SystemExit):
            raise
        recorder.tell("problem", text=f"{type(error).__name__}: {error}")
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


def _read(descriptor: int, size: int) -> bytes:
    data = b""
    while len(data) < size and (more := os.read(descriptor, size - len(data))):
        data += more
    return data


def _run(order: dict[str, Any], recorder: Recorder, answers: int) -> None:
    root = logging.getLogger()
    root.addHandler(Logs(recorder))
    root.setLevel(logging.INFO)
    sys.path[:] = [*sys.path, *(path for path in order["path"] if path not in sys.path)]
    from tasuki.app import App
    from tasuki.testing.dry_run.session import run

    target = order["target"]
    name = target if ":" in target and not Path(target).exists() else Path(target)
    app = App.load(name, overrides=order["overrides"], environ=order["environ"])
    message = Outgoing(order["id"], order["body"], order["headers"], priority=order["priority"], key=order["key"])
    asyncio.run(run(app, order["consumer"], message, order["now"], order["limit"], recorder, answers))


if __name__ == "__main__":
    main()
